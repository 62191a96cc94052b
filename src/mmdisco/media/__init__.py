"""Audio and video: clips, reading, writing, plots. No models."""
