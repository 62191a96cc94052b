"""Clips in memory and in files. Knows no model and no latent."""
