"""How well a discriminator does its work, level by level: telling pairs apart, and denoising."""
