"""VideoCrafter2, rewritten for inference: its networks, its weights and their names, its levels."""

from mmdisco.adapters.videocrafter2.model import VideoCrafter2, VideoCrafter2Parts

__all__ = ["VideoCrafter2", "VideoCrafter2Parts"]
