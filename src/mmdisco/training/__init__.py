"""Training a discriminator: pairs, noise levels, losses, the loop and what it keeps on disk."""
