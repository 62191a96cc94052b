"""Whole files, locks, tables, pickles read as tensors, and processes."""
