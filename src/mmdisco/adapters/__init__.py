"""Pre-trained base models at the edge of the core: one module a model, one layout for all.

The only room that imports transformers, and beside the solvers the only one that imports
diffusers. Here latents are transposed, rescaled and cast; outside they are float32, audio
``(b, c, l, m)`` and video ``(b, c, f, h, w)``, time on axis 2.

"""
