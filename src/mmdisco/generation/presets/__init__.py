"""Named systems: their checkpoints, default settings, and how they are built."""
