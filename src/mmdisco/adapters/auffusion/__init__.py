"""Auffusion: spectrogram, vocoder, prompts and padding around two networks of diffusers."""
