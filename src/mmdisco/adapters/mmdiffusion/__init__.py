"""MM-Diffusion as a joint model: networks, checkpoints and sampler."""
