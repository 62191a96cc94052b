"""The bill of a request before it is run: ``generate`` itself, with networks that compute nothing.

Base models of any kind are copied with every network replaced by one that has shapes alone, so what
is counted is what the run does: candidates, a given side, classifier-free guidance.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast

from diffusers import DiffusionPipeline
from torch import Tensor, nn

from mmdisco.adapters.stock.dry_run import Passes, counting, dry_pipeline
from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.distilled import DistilledGradient
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.cost import (
    CountingDiscriminator,
    CountingGradient,
    JointCost,
    NetworkCost,
    capacity_of,
)
from mmdisco.generation.generate import prepare
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import JointSystem

_ELSEWHERE = {"device": "cpu", "offload": False}  # nothing is computed, whatever the device


def outline_of(config: GenerateConfig) -> JointSystem:
    """Return the system of a configuration, without weights where it can be built so."""
    return system_of(config.updated(_ELSEWHERE)).outline()


def bill_of(config: GenerateConfig) -> JointCost:
    """Count what a resolved request costs, without sampling anything.

    Pipelines that are named, and presets of such, need no weights for that; those of other presets
    are read into main memory, for their shapes.

    Raises:
        UserError: Files are missing, or the course of a network depends on its numbers.
    """
    prepared = prepare(config, outline_of(config))
    model, passes = dry_model(prepared.generation.model)
    judged: Discriminator = prepared.generation.discriminator
    counted = None
    if config.discriminates:
        counted = CountingDiscriminator(_plain(judged))
        judged = counted
    settings, source = prepared.generation.settings, prepared.generation.settings.reuse.source
    distilled = CountingGradient(source.network) if isinstance(source, DistilledGradient) else None
    if distilled is not None:
        settings = replace(settings, reuse=replace(settings.reuse, source=distilled))
    dry = replace(
        prepared,
        generation=replace(
            prepared.generation, model=model, discriminator=judged, settings=settings
        ),
    )
    dry.select(dry.sample()).clips()
    networks = [NetworkCost.of(side, one) for side, one in passes]
    networks += [NetworkCost.of("discriminator", one.passes) for one in (counted, distilled) if one]
    steps = config.steps or 0
    made = AV(0 if config.audio else steps, 0 if config.video else steps)
    return JointCost(tuple(networks), made, _capacity(config))


def dry_model(model: JointModel) -> tuple[JointModel, list[tuple[str, Passes]]]:
    """Return a copy of base models that computes no network, and the passes of each by side.

    The models themselves are left as they are.
    """
    copies: dict[int, Any] = {}
    passes: list[tuple[str, Passes]] = []
    for path, part in _parts(model, ()):
        if id(part) in copies:
            continue
        side = path[0] if path[0] in ("audio", "video") else "joint"
        if isinstance(part, DiffusionPipeline):
            copies[id(part)], own = dry_pipeline(part)
            passes += [(side, one) for one in own]
        else:
            named = [one for one in path if one not in ("audio", "video", "network")]
            passes.append((side, Passes.of(named[-1] if named else "network", part)))
            copies[id(part)] = counting(part, passes[-1][1])
    return copy.deepcopy(model, copies), passes


def _parts(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield networks and pipelines inside an object, each with the names that lead to it."""
    if isinstance(value, nn.Module | DiffusionPipeline):
        yield path or ("joint",), value
    elif isinstance(value, Mapping):
        for name, one in cast("Mapping[Any, Any]", value).items():
            yield from _parts(one, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for one in cast("tuple[Any, ...]", value):
            yield from _parts(one, path)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name), (*path, field.name))
    elif type(value).__module__.startswith("mmdisco.") and not isinstance(value, Tensor):
        for name, one in vars(value).items():
            yield from _parts(one, (*path, name.strip("_")))


def _plain(discriminator: Discriminator) -> Discriminator:
    return discriminator.discriminator if isinstance(discriminator, OnDevice) else discriminator


def _capacity(config: GenerateConfig) -> int | None:
    try:
        return capacity_of(config.torch_device())
    except UserError:  # the bill of a device that is not here
        return None
