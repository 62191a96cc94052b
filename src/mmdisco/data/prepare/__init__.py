"""From videos to stores of latents, with a manifest and a report."""
