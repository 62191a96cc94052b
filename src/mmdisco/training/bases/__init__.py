"""Training of own base models on short clips of a small world."""
