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

from mmdisco.adapters.audioldm_mel import (
    N_FFT,
    QUIETEST,
    SAMPLE_RATE,
    MelFrontEnd,
    slaney_filters,
)
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Text


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


def encode_ltx2_sound(pipe: Any, waveforms: Tensor, steps: int) -> Latent:
    """Encode waveforms of 16 kHz to (b, c, steps, m) as LTX-2's encoder was trained.

    Magnitudes on AudioLDM's mel scale in natural logarithms, of windows that are centred on each
    hop; the sound is not levelled. A causal encoder has a first step of one column. Source: the
    published ltx-core.

    Raises:
        UserError: The autoencoder has another sample rate, or the sound is too short.
    """
    vae = pipe.audio_vae
    ratio, hop = pipe.audio_vae_temporal_compression_ratio, vae.config["mel_hop_length"]
    if vae.config["sample_rate"] != SAMPLE_RATE:
        raise UserError(
            f"an autoencoder of {vae.config['sample_rate']} Hz: spectrograms of "
            f"{type(pipe).__name__} are known for {SAMPLE_RATE} Hz only"
        )
    if waveforms.shape[2] <= N_FFT // 2:
        raise UserError(
            f"sound of {waveforms.shape[2]} samples: {type(pipe).__name__} takes more than "
            f"{N_FFT // 2}; add silence"
        )
    columns = ratio * steps - (ratio - 1 if vae.config["causality_axis"] else 0)
    whole = functional.pad(waveforms[:, 0], (0, max(0, columns * hop - waveforms.shape[2])))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(whole, N_FFT, hop, window=window, return_complex=True)[..., :columns]
    mel = spectrum.abs().transpose(1, 2) @ slaney_filters(N_FFT, vae.config["mel_bins"]).T
    values = mel.clamp(min=QUIETEST).log()[:, None].expand(-1, vae.config["in_channels"], -1, -1)
    found = vae.encode(values.to(pipe._execution_device, vae.dtype)).latent_dist.mode()
    packed = pipe._pack_audio_latents(found)
    scaled = pipe._normalize_audio_latents(packed, vae.latents_mean, vae.latents_std)
    return pipe._unpack_audio_latents(scaled, steps, found.shape[3]).to(waveforms)


def ltx2_vectors(pipe: Any, embeds: Tensor, mask: Tensor) -> tuple[Text, Text]:
    """Average what the transformer reads of a prompt for sound and for video, without padding.

    Args:
        pipe: The pipeline.
        embeds: What ``encode_prompt`` returns, (b, tokens, d).
        mask: The tokens of the prompt among them, (b, tokens).
    """
    side = getattr(pipe.tokenizer, "padding_side", "left")
    with torch.no_grad():
        video, audio, kept = pipe.connectors(embeds, mask, padding_side=side)
    if kept.all():  # learned registers take the place of padding, after the prompt
        kept = torch.arange(kept.shape[1], device=kept.device) < mask.sum(1, keepdim=True)
    weights = (kept.float() / kept.float().sum(1, keepdim=True).clamp(min=1))[..., None]
    pooled = ((weights * states.float()).sum(1).cpu() for states in (audio, video))
    return next(pooled), next(pooled)


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
