"""How families of pipelines encode real clips into latents, and captions into vectors.

Each function takes a loaded pipeline first; the pipelines encode nothing but what their own tasks
need.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmdisco.adapters.audioldm_mel import SAMPLE_RATE, MelFrontEnd
from mmdisco.errors import UserError
from mmdisco.shapes import Latent, Text


def _moments(pipe: Any, values: Tensor) -> Tensor:
    """The mean of the autoencoder's posterior."""
    encoded = pipe.vae.encode(values.to(pipe._execution_device, pipe.vae.dtype))
    return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded[0]


def encode_wan(pipe: Any, pixels: Tensor) -> Latent:
    """Encode pixels as Wan does: the mean of the posterior, standardised channel by channel."""
    config = pipe.vae.config
    mean, std = (
        torch.tensor(config[f"latents_{name}"]).reshape(1, -1, 1, 1, 1).to(pixels)
        for name in ("mean", "std")
    )
    return (_moments(pipe, pixels).to(pixels) - mean) / std


def encode_scaled(pipe: Any, values: Tensor) -> Latent:
    """Encode by the mean of the posterior times the scaling factor."""
    return _moments(pipe, values).to(values) * pipe.vae.config["scaling_factor"]


def encode_ltx(pipe: Any, pixels: Tensor) -> Latent:
    """Encode pixels as LTX does: the posterior's mean, normalised by the pipeline's own rule."""
    vae, found = pipe.vae, _moments(pipe, pixels).to(pixels)
    scale = vae.config["scaling_factor"]
    return pipe._normalize_latents(found, vae.latents_mean, vae.latents_std, scale)


def encode_images(pipe: Any, pixels: Tensor) -> Latent:
    """Encode frames one by one with an autoencoder of images."""
    images = pixels.transpose(1, 2).flatten(0, 1)
    return encode_scaled(pipe, images).unflatten(0, (len(pixels), -1)).transpose(1, 2)


def encode_sound(pipe: Any, waveforms: Tensor) -> Latent:
    """Encode a waveform by the mean of the posterior."""
    return _moments(pipe, waveforms).to(waveforms)


def encode_longcat(pipe: Any, waveforms: Tensor) -> Latent:
    """Encode a waveform as LongCat does, without drawing from the posterior."""
    values = waveforms.to(pipe._execution_device)
    return pipe.vae.encode(values, sample_posterior=False).latents.to(waveforms)


def encode_mel(pipe: Any, waveforms: Tensor) -> Latent:
    """Encode a waveform's log-mel spectrogram as AudioLDM does.

    Raises:
        UserError: The vocoder has another sample rate, or the sound is too short.
    """
    config = pipe.vocoder.config
    if config.sampling_rate != SAMPLE_RATE:
        raise UserError(
            f"a vocoder of {config.sampling_rate} Hz: spectrograms of {type(pipe).__name__} are "
            f"known for {SAMPLE_RATE} Hz only"
        )
    front_end = MelFrontEnd(_mel_hop(pipe), config.model_in_dim)
    if waveforms.shape[2] <= front_end.margin:
        raise UserError(
            f"sound of {waveforms.shape[2]} samples: {type(pipe).__name__} takes more than "
            f"{front_end.margin}; add silence"
        )
    return encode_scaled(pipe, front_end.log_mel(front_end.level(waveforms[:, 0])))


def _mel_hop(pipe: Any) -> int:
    return math.prod(pipe.vocoder.config.upsample_rates)


def mel_grid(pipe: Any) -> tuple[int, int]:
    """Return the sample rate, and the samples of one latent step."""
    return pipe.vocoder.config.sampling_rate, _mel_hop(pipe) * pipe.vae_scale_factor


def mel_bins(pipe: Any) -> tuple[int, ...]:
    """Return the mel bins of a latent step."""
    return (pipe.vocoder.config.model_in_dim // pipe.vae_scale_factor,)


def clap_vectors(pipe: Any, prompts: Sequence[str]) -> Text:
    """The unit vectors of CLAP's text encoder, which AudioLDM itself reads."""
    texts = pipe.tokenizer(
        list(prompts),
        padding="max_length",
        max_length=pipe.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).to(pipe._execution_device)
    with torch.no_grad():
        found = pipe.text_encoder.get_text_features(**texts).pooler_output
    return functional.normalize(found.float(), dim=-1).cpu()
