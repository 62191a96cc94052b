"""Folders of clips to figures: reading, features kept on disk, metrics by name, the report."""
