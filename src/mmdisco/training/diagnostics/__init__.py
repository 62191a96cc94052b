"""How well a discriminator classifies and denoises, by noise level."""
