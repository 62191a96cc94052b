"""Records what torchvggish makes of a sound; run beside its unpacked source.

``pip download --no-deps --no-binary :all: torchvggish==0.2``, unpack, then
``python record.py torchvggish-0.2/torchvggish``. The arithmetic is TensorFlow's (Apache 2.0).
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def sound() -> np.ndarray:
    """2.4 s at 16 kHz: a rising tone, clicks, noise and silence."""
    rng = np.random.default_rng(0)
    times = np.arange(38_400) / 16_000
    wave = 0.4 * np.sin(2 * np.pi * (200 * times + 1200 * times**2))
    wave[::4_000] += 0.5
    wave += 0.05 * rng.standard_normal(len(wave))
    wave[20_000:24_000] = 0
    return wave.astype(np.float32)


def main() -> None:
    def load(name):
        spec = importlib.util.spec_from_file_location(name, Path(sys.argv[1]) / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    features, settings = load("mel_features"), load("vggish_params")
    log_mel = features.log_mel_spectrogram(
        sound().astype(np.float64),
        audio_sample_rate=settings.SAMPLE_RATE,
        log_offset=settings.LOG_OFFSET,
        window_length_secs=settings.STFT_WINDOW_LENGTH_SECONDS,
        hop_length_secs=settings.STFT_HOP_LENGTH_SECONDS,
        num_mel_bins=settings.NUM_MEL_BINS,
        lower_edge_hertz=settings.MEL_MIN_HZ,
        upper_edge_hertz=settings.MEL_MAX_HZ,
    )
    patches = features.frame(log_mel, settings.NUM_FRAMES, settings.NUM_FRAMES)
    np.savez_compressed(HERE / "patches.npz", patches=patches.astype(np.float32))


if __name__ == "__main__":
    main()
