"""A pipeline's own ``__call__`` with networks that have shapes and no numbers.

Each network is replaced by a copy on the meta device that counts its passes and returns zeros.
Prompts, schedulers, guidance and callbacks are the pipeline's own, so what is counted is what a
run does: both branches of classifier-free guidance, the experts by noise level, every tile.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from mmdisco.adapters.stock.meta import MetaCount
from mmdisco.errors import UserError

_CALLS: Final = ("forward", "encode", "decode", "get_text_features", "get_image_features")
_HOOKS: Final = ("forward", "_hf_hook", "_old_forward", "_diffusers_hook")
_LARGE: Final = 1 << 24  # elements of an output that is not worth its memory


@dataclass
class Passes:
    """Passes of one network through a run.

    Attributes:
        name: Name of the component in its pipeline.
        kind: Class of the network.
        parameters: Number of parameters.
        weights: Bytes of parameters and buffers.
        count: Passes.
        batch: Most samples of a pass.
        operations: Floating-point operations of all passes.
        peak: Most bytes of activations at a time.
        seen: Output, operations and peak of a pass by the shapes of its arguments.
    """

    name: str
    kind: str
    parameters: int
    weights: int
    count: int = 0
    batch: int = 0
    operations: int = 0
    peak: int = 0
    seen: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)

    @classmethod
    def of(cls, name: str, network: nn.Module) -> "Passes":
        """Return the passes of a network before any run."""
        parameters = list(network.parameters())
        held = [*parameters, *network.buffers()]
        return cls(
            name,
            type(network).__name__,
            sum(one.numel() for one in parameters),
            sum(one.numel() * one.element_size() for one in held),
        )

    def add(self, operations: int, peak: int, batch: int) -> None:
        """Count one pass."""
        self.count += 1
        self.operations += operations
        self.peak = max(self.peak, peak)
        self.batch = max(self.batch, batch)


def dry_pipeline(pipe: Any) -> tuple[Any, list[Passes]]:
    """Return a copy of a pipeline that computes no network, and the passes that its runs make.

    The pipeline itself, its hooks and its weights are left as they are.
    """
    dry = copy.copy(pipe)
    passes: list[Passes] = []
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            passes.append(Passes.of(name, part))
            vars(dry)[name] = counting(part, passes[-1])
        elif name in ("scheduler", "guider"):
            vars(dry)[name] = copy.deepcopy(part)
    vars(dry)["maybe_free_model_hooks"] = lambda: None
    vars(dry)["_progress_bar_config"] = {"disable": True}
    if hasattr(pipe, "video_processor"):
        shown = vars(dry)["video_processor"] = copy.copy(pipe.video_processor)
        shown.postprocess_video = _as_decoded
    return dry, passes


def on_meta(network: nn.Module) -> nn.Module:
    """Return a copy of a network with weights on the meta device and without hooks."""
    network = getattr(network, "_orig_mod", network)
    memo: dict[int, Any] = {
        id(one): nn.Parameter(one.detach().to("meta"), one.requires_grad)
        for one in network.parameters()
    }
    for one in network.buffers():
        # read outside of the network too, as the statistics of latents are
        memo[id(one)] = torch.zeros_like(one, device="cpu") if one.is_meta else one.detach().cpu()
    for part in network.modules():
        for one in vars(part).values():
            if isinstance(one, Tensor):  # computed of parameters, as normalized weights are
                memo[id(one)] = one.detach().to("meta")
    made = copy.deepcopy(network, memo)
    for part in made.modules():
        for hook in _HOOKS:
            vars(part).pop(hook, None)
    return made


def counting(network: nn.Module, passes: Passes) -> nn.Module:
    """Return a copy of a network that counts its passes and returns zeros."""
    made = on_meta(network)
    # of a copy that counts already, the plain class
    kind: Any = type(made).__mro__["_passes" in vars(made)]
    counted = {name: _counted(name, kind) for name in _CALLS if hasattr(kind, name)}
    device = {"device": property(lambda _: torch.device("cpu"))}
    # transformers looks classes up by what they print as
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made.__class__ = type(kind.__name__, (kind,), {**counted, **device, **named})
    vars(made)["_passes"], vars(made)["_counting"] = passes, False
    return made


def _counted(name: str, kind: type) -> Any:
    plain = getattr(kind, name)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._counting:
            return plain(self, *args, **kwargs)
        passes: Passes = self._passes
        values, form = tree_flatten((args, kwargs))
        key = (name, str(form), tuple(map(_shape_of, values)))
        if key not in passes.seen:
            passes.seen[key] = _run(self, plain, args, kwargs)
        output, operations, peak = passes.seen[key]
        sizes = [one.shape[0] for one in values if isinstance(one, Tensor) and one.ndim]
        passes.add(operations, peak, sizes[0] if sizes else 1)
        return output

    return call


def _run(network: Any, plain: Any, args: Any, kwargs: Any) -> tuple[Any, int, int]:
    count = MetaCount(network.parameters())
    vars(network)["_counting"] = True
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), count:
            output = plain(network, *args, **kwargs)
    except (NotImplementedError, RuntimeError) as error:
        said = str(error).split("\n", 1)[0]
        raise UserError(
            f"{type(network).__name__} cannot be counted without its numbers: {said}"
        ) from error
    finally:
        vars(network)["_counting"] = False
    return _zeros(output), count.operations, count.peak


def _as_decoded(video: Tensor, *_: Any, **__: Any) -> Tensor:
    """Return (b, c, f, h, w) as (b, f, h, w, c), as arrays of videos are, without their numbers."""
    return torch.zeros(()).expand(video.movedim(1, -1).shape)


def _shape_of(value: Any) -> Any:
    return (value.shape, value.dtype) if isinstance(value, Tensor) else repr(value)


def _zeros(value: Any) -> Any:
    """Return an output with zeros in the place of numbers that were not computed."""
    if isinstance(value, Tensor):
        if not value.is_meta:
            return value
        if value.numel() > _LARGE:
            return torch.zeros((), dtype=value.dtype).expand(value.shape)
        return torch.zeros(value.shape, dtype=value.dtype)
    if isinstance(value, dict):
        made = copy.copy(value)
        for key, one in value.items():
            made[key] = _zeros(one)
        return made
    if isinstance(value, tuple | list):
        return type(value)(map(_zeros, value))
    if hasattr(value, "parameters") and isinstance(value.parameters, Tensor):
        return type(value)(_zeros(value.parameters))  # a distribution of latents
    return value
