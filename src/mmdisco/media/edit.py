"""Edits of clips in memory: cut, padded with silence or the last frame, limited in level."""

from typing import Final

import numpy as np

from mmdisco.media.clip import Audio, Video

CEILING: Final = 10 ** (-1 / 20)  # peak of reduced sound; a lossy encoder overshoots a little


def cut_audio(audio: Audio, seconds: float) -> Audio:
    """Cut to at most the first ``seconds``, at least one sample."""
    samples = max(1, round(seconds * audio.sample_rate))
    return Audio(audio.waveform[:samples], audio.sample_rate)


def cut_video(video: Video, seconds: float) -> Video:
    """Cut to at most the first ``seconds``, at least one frame."""
    frames = max(1, round(seconds * video.fps))
    return Video(video.frames[:frames], video.fps)


def fit_audio(audio: Audio, samples: int) -> Audio:
    """Cut at the end, or pad with silence, to exactly ``samples``."""
    waveform = audio.waveform[:samples]
    return Audio(np.pad(waveform, (0, samples - len(waveform))), audio.sample_rate)


def fit_video(video: Video, frames: int) -> Video:
    """Cut at the end, or hold the last frame, to exactly ``frames``."""
    kept = video.frames[:frames]
    held = np.repeat(kept[-1:], frames - len(kept), axis=0)
    return Video(np.concatenate([kept, held]), video.fps)


def bring_down(audio: Audio) -> Audio:
    """Scale a clipping sound to a peak of −1 dB; others are unchanged."""
    peak = float(np.abs(audio.waveform).max())
    if peak <= 1:
        return audio
    return Audio(audio.waveform * np.float32(CEILING / peak), audio.sample_rate)
