"""Evaluation of the miniature pair."""
