"""Folders of clips to metrics, a table and a report."""
