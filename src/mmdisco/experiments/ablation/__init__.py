"""Ablations: studies as values, their runs and their reports."""
