"""Cost of a guided step, part by part."""
