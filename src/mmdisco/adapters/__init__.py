"""Pre-trained base models, each a module or a folder.

Latents are transposed, rescaled and cast here; outside they are float32, audio ``(b, c, l, m)`` and
video ``(b, c, f, h, w)``, time on axis 2.
"""
