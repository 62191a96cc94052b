"""Atomic files, locks, tables, pickles read as tensors, and worker processes."""
