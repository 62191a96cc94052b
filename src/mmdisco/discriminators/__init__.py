"""Discriminators: networks that return a log density ratio and nothing else."""
