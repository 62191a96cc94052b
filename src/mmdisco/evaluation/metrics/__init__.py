"""Extractors, which read clips, and metrics over what they read."""
