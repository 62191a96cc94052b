"""Pairs on disk: real ones from videos, fake ones from the base models."""
