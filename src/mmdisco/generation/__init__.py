"""From a request to clips: systems of models, presets, the pipeline, metadata."""
