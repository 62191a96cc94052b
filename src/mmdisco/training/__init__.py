"""Training of discriminators: configuration, the loop, processes, checkpoints."""
