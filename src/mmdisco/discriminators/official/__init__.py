"""The published discriminators, run from their files."""
