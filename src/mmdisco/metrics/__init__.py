"""Measures of clips as people see and hear them: pixels and samples, never latents."""
