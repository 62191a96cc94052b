"""The files of each adapted model's checkpoint. Knows names only, loads nothing."""

from typing import Final

from mmdisco.adapters.parts import (
    Part,
    diffusers_network,
    scheduler,
    tokenizer,
    transformers_network,
)

CLIP_TOKENIZER: Final = tokenizer("", "vocab.json", "merges.txt")
"""A tokenizer of CLIP in a checkpoint of its own."""

VIDEOCRAFTER2: Final = Part(
    "",
    (),
    (
        ("model.ckpt",),
        ("unet.safetensors", "autoencoder.safetensors", "text.safetensors", "config.json"),
    ),
)
"""The three networks of VideoCrafter2: as published, or converted."""

AUFFUSION: Final = (
    diffusers_network("unet"),
    diffusers_network("vae"),
    scheduler(),
    transformers_network("text_encoder_0"),
    tokenizer("text_encoder_0", "vocab.json", "merges.txt"),
    Part("", ("condition_config.json",)),
    Part(
        "condition_adapter_0",
        ("config.json",),
        (("condition_adapter.pt",), ("condition_adapter.safetensors",)),
    ),
    Part("vocoder", ("config.json",), (("vocoder.pt",), ("vocoder.safetensors",))),
)
"""Denoiser, autoencoder, scheduler, text encoder, tokenizer, list of encoders, adapter, vocoder."""


def audioldm(variant: str | None = None) -> tuple[Part, ...]:
    """Denoiser, autoencoder, vocoder, text encoder, tokenizer, scheduler."""
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("vocoder", variant),
        transformers_network("text_encoder", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        scheduler(),
    )


def audioldm2(variant: str | None = None) -> tuple[Part, ...]:
    """Denoiser, autoencoder, vocoder, six parts that read prompts, scheduler.

    These are CLAP, T5, projection and language model, then the tokenizers of the first two.
    """
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("vocoder", variant),
        transformers_network("text_encoder", variant),
        transformers_network("text_encoder_2", variant),
        diffusers_network("projection_model", variant),
        transformers_network("language_model", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        tokenizer("tokenizer_2", "spiece.model"),
        scheduler(),
    )


def image_model(variant: str | None = None) -> tuple[Part, ...]:
    """Denoiser, autoencoder, text encoder, tokenizer, scheduler: Stable Diffusion and its kin."""
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("text_encoder", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        scheduler(),
    )


def motion_adapter(variant: str | None = None) -> Part:
    """The motion modules of AnimateDiff, in a checkpoint of their own."""
    return diffusers_network("", variant)
