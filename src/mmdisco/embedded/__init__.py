"""The embedded pair: two miniature latent diffusion models that ship with the package."""
