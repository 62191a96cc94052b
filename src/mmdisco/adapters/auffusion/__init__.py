"""Auffusion: spectrogram, vocoder, prompts and padding around two networks of diffusers."""

from mmdisco.adapters.auffusion.model import Auffusion, AuffusionParts

__all__ = ["Auffusion", "AuffusionParts"]
