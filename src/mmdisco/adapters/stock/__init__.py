"""Pipelines of diffusers as base models, through their own ``__call__`` and scheduler."""
