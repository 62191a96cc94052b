"""Pipelines of published checkpoints, every file of which is checked before it is loaded.

Diffusers loads what it finds; here one message names all files that are missing, with the command
that fetches them, and damaged weights, or components of two checkpoints, are refused.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

import diffusers
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import ClapModel
from transformers.utils import logging as transformers_logging

from mmdisco.adapters.checkpoint import Checkpoint, expect_complete
from mmdisco.adapters.components import ComponentFiles
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.stock.families import VIDEO, family_of
from mmdisco.adapters.stock.model import StockModel, stock_audio, stock_video
from mmdisco.adapters.stock.schedulers import as_trained
from mmdisco.adapters.vae import expect_matching
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, Video

_UNSTATED: Final = 100_000  # tokens; transformers' value for a tokenizer without a length is above
_GENERATED: Final = 8  # vectors of AudioLDM2's language model, where its checkpoint states none


@contextmanager
def quiet() -> Generator[None]:
    """Silence bars, and advice to programmers, such as that a class gets no new features."""
    libraries = (diffusers_logging, transformers_logging)
    levels = [library.get_verbosity() for library in libraries]
    barred = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
        for library in barred:
            library.enable_progress_bar()


@quiet()
def load_pipeline(
    kind: str,
    sources: Sequence[tuple[Checkpoint, Sequence[ComponentFiles]]],
    runtime: Runtime = CPU,
) -> Any:
    """Load a pipeline.

    Args:
        kind: Name of diffusers' class.
        sources: Checkpoints with the components to take from each.
        runtime: Device and memory of its networks.

    Raises:
        UserError: Files are missing or damaged, hold another model, or do not belong together.
    """
    expect_complete(sources, kind.removesuffix("Pipeline"))
    kinds = _kinds(kind)
    parts: dict[str, Any] = {}
    for checkpoint, components in sources:
        for part in components:
            name = part.name or "motion_adapter"  # the one that is a checkpoint of its own
            own = SchedulerMixin if name == "scheduler" else kinds[name][0]
            parts[name] = checkpoint.load(part, own)
    return assemble_pipeline(kind, parts, runtime)


@quiet()
def assemble_pipeline(kind: str, parts: Mapping[str, Any], runtime: Runtime = CPU) -> Any:
    """Make a pipeline of its components: frozen, in evaluation mode and on the device.

    Of the scheduler only the noise levels and the prediction of the training are kept.

    Args:
        kind: Name of diffusers' class.
        parts: Components by name; what probes and decoding do not need may be left out.
        runtime: Device and memory of its networks.

    Raises:
        UserError: The components do not belong together.
    """
    own: dict[str, Any] = {**dict.fromkeys(_kinds(kind)), **parts}
    own["scheduler"] = as_trained(own["scheduler"])
    if own.get("motion_adapter") is not None:
        own |= {"unet": with_motion(own["unet"], own["motion_adapter"]), "motion_adapter": None}
    if own.get("language_model") is not None:
        config = own["language_model"].config
        config.max_new_tokens = getattr(config, "max_new_tokens", None) or _GENERATED
    pipe = getattr(diffusers, kind)(**own)
    read, made = _widths(pipe)
    name = kind.removesuffix("Pipeline")
    expect_matching(pipe.unet, pipe.vae, read=read, made=made, model=name)
    for tokenizer in (pipe.tokenizer, own.get("tokenizer_2")):
        if tokenizer is not None and tokenizer.model_max_length > _UNSTATED:
            raise UserError(
                f"{type(tokenizer).__name__} states no length: set model_max_length in its "
                "tokenizer_config.json"
            )
    pipe.text_encoder.eval().requires_grad_(requires_grad=False)  # also what is never run
    runtime.take(_networks(pipe), pipe.vae)
    return pipe


def with_motion(unet: UNet2DConditionModel, motion: MotionAdapter) -> UNetMotionModel:
    """Insert the motion modules of an adapter into the denoiser of an image model.

    Raises:
        UserError: The adapter was made for an image model of another shape.
    """
    maker: Any = UNetMotionModel
    try:
        return maker.from_unet2d(unet, motion)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            "the motion adapter does not fit the denoiser: both must be of one family, such as "
            "Stable Diffusion 1.5"
        ) from error


def unguided_audio(pipe: Any) -> StockModel[Audio]:
    """Return an audio pipeline as a base model; classifier-free guidance is applied outside."""
    return stock_audio(pipe, {"guidance_scale": 1.0})


def unguided_video(pipe: Any, size: tuple[int, int], fps: Fraction) -> StockModel[Video]:
    """Return a video pipeline as a base model; classifier-free guidance is applied outside.

    Args:
        pipe: The pipeline.
        size: Height and width in pixels.
        fps: Frames per second; the networks themselves know no rate.

    Raises:
        UserError: The autoencoder cannot divide the size.
    """
    call = {"guidance_scale": 1.0, "height": size[0], "width": size[1]}

    def own_fps(pipe: Any) -> Fraction:
        return fps

    family = replace(family_of(pipe, VIDEO), fps=own_fps)
    family.expect_possible(pipe, call)
    return stock_video(pipe, call, family)


def _kinds(kind: str) -> dict[str, tuple[type, ...]]:
    """Return the classes of a pipeline's components."""
    return getattr(diffusers, kind)._get_signature_types()


def _widths(pipe: Any) -> tuple[int, int]:
    """Return the widths of the text that the denoiser reads and of what the text encoder makes."""
    unet, text = pipe.unet.config, pipe.text_encoder.config
    if hasattr(pipe, "projection_model"):
        read = pipe.projection_model.config["text_encoder_1_dim"]
        return read, pipe.text_encoder_2.config.d_model
    if hasattr(pipe, "vocoder"):
        return unet["projection_class_embeddings_input_dim"] or 0, text.projection_dim
    return unet["cross_attention_dim"], text.hidden_size


def _networks(pipe: Any) -> list[nn.Module]:
    """Return the networks in the order in which a run uses them."""
    text = pipe.text_encoder
    # of all of CLAP only the text is read, and not by ``forward``
    readers = (text.text_model, text.text_projection) if isinstance(text, ClapModel) else (text,)
    names = ("text_encoder_2", "projection_model", "language_model", "unet", "vae", "vocoder")
    others = (getattr(pipe, name, None) for name in names)
    return [*readers, *(one for one in others if one is not None)]
