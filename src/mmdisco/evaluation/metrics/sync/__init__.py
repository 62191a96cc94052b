"""Audio-video synchrony, scored by a trained network."""
