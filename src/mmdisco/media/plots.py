"""One figure of one or several clips: frames, waveform and mel spectrogram over one time axis."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.io.files import replacing
from mmdisco.media.clip import Audio, AudioVideo, Frames, Video
from mmdisco.media.mel import MelScale

_MOST_FRAMES = 16
_WIDTH = 9.0  # inches per clip
_COLUMNS = 2  # clips side by side


def draw_clips(path: Path, clips: Mapping[str, AudioVideo]) -> None:
    """Draw every clip under its title, two side by side, as PNG.

    Frame i spans i/fps to (i + 1)/fps on the time axis; of more than 16 frames every n-th is
    drawn, as wide as the n it represents.

    Raises:
        UserError: ``path`` cannot be written.
    """
    columns = min(_COLUMNS, len(clips))
    rows = -(-len(clips) // columns)
    strip = _WIDTH / _MOST_FRAMES
    figure = Figure(figsize=(_WIDTH * columns, rows * (strip + 2.6)), layout="constrained")
    axes = figure.subplots(
        3 * rows,
        columns,
        squeeze=False,
        sharex="col",
        gridspec_kw={"height_ratios": [strip, 0.6, 1.1] * rows},
    )
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        part: list[Axes] = [axes[3 * row + k, column] for k in range(3)]
        if place < len(clips):
            title, clip = list(clips.items())[place]
            part[0].set_title(title, fontsize=11, loc="left", parse_math=False)
            _draw_frames(part[0], clip.video)
            draw_waveform(part[1], clip.audio)
            draw_mel(part[2], clip.audio)
        else:
            for axis in part:
                axis.set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def contact_sheet(frames: Frames, columns: int) -> Frames:
    """Arrange frames (f, h, w, 3) row by row in a grid (rows · h, columns · w, 3) on white."""
    count, height, width, _ = frames.shape
    rows = -(-count // columns)
    grid = np.ones((rows * columns, height, width, 3), np.float32)
    grid[:count] = frames
    grid = grid.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, 3)


def _draw_frames(axis: Axes, video: Video) -> None:
    step = -(-len(video.frames) // _MOST_FRAMES)
    shown = video.frames[::step]
    end = len(shown) * step / float(video.fps)
    strip = np.clip(contact_sheet(shown, len(shown)), 0, 1)
    axis.imshow(strip, extent=(0, end, 0, 1), aspect="auto", interpolation="lanczos")
    axis.set_yticks([])
    axis.tick_params(labelbottom=False)


def draw_waveform(axis: Axes, audio: Audio) -> None:
    """Draw a waveform over seconds."""
    times = np.arange(len(audio.waveform)) / audio.sample_rate
    axis.plot(times, audio.waveform, linewidth=0.4, color="#2b5c8a")
    axis.set_ylim(-1, 1)
    axis.set_yticks([])
    axis.tick_params(labelbottom=False)


def draw_mel(axis: Axes, audio: Audio) -> None:
    """Draw a mel spectrogram over seconds."""
    hop = max(1, audio.sample_rate // 80)
    scale = MelScale(sample_rate=audio.sample_rate, hop=hop, highest=audio.sample_rate / 2)
    # A clip shorter than one analysis window is drawn with silence after it.
    padded = np.pad(audio.waveform, (0, max(0, scale.n_fft - len(audio.waveform))))
    mel = scale.analyse(torch.from_numpy(padded)[None])[0, 0].numpy()
    end = len(mel) * hop / audio.sample_rate
    axis.imshow(
        mel.T, extent=(0, end, 0, scale.bins), aspect="auto", origin="lower", vmin=-1, vmax=1
    )
    axis.set_ylabel("mel", fontsize=8)
    axis.set_yticks([])
    axis.set_xlabel("seconds", fontsize=8)
