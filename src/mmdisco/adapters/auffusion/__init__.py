"""Auffusion: spectrogram, vocoder, prompts and padding around networks of diffusers."""
