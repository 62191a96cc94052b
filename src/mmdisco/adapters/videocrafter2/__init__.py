"""VideoCrafter2, rewritten for inference: its networks, its weights and their names, its levels."""
