"""MM-Diffusion as a joint model: its networks, checkpoints and sampler."""
