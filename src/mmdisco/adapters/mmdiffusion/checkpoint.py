"""Published files of MM-Diffusion, read once and kept as safetensors.

A published file is a pickle of tensors. It is read by a reader that builds tensors and nothing
else, checked name by name, and written beside as a folder of two files, which are read from then
on, until the published file changes:

    model.safetensors    weights by our names, single precision
    config.json          shape, SHA-256 of the weights, size and time of the source; written last
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from mmdisco.adapters.mmdiffusion import keys
from mmdisco.adapters.mmdiffusion.config import JOINT, UPSCALER, JointConfig, UpscalerConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.upscaler import UpscalerNetwork
from mmdisco.errors import UserError
from mmdisco.io.files import read_object, read_tensors, sha256, write_json, write_tensors
from mmdisco.io.pickles import Rules, read_pickle, renamed, state_dict

Network = TypeVar("Network", JointNetwork, UpscalerNetwork)

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
HOME = "https://github.com/researchmm/MM-Diffusion"


def load_joint(path: Path, config: JointConfig = JOINT) -> JointNetwork:
    """Load the joint network, frozen, in single precision.

    Args:
        path: ``AIST++.pt`` or ``landscape.pt`` as published, or the folder ``AIST++.pt.converted``
            that it was converted to, which is sufficient by itself.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: The file is missing, cut short or damaged, holds another network or numbers that
            are not finite, or its conversion cannot be written.
    """
    form = _Form("joint", lambda record: JointNetwork(JointConfig.from_record(record)), keys.JOINT)
    return _load(form, path, config.to_record())


def load_upscaler(path: Path, config: UpscalerConfig = UPSCALER) -> UpscalerNetwork:
    """Load the super-resolution network, frozen, in single precision.

    Args:
        path: The file as published, or the folder that it was converted to.
        config: Shape of the network in a published file; a folder knows its own.

    Raises:
        UserError: As of ``load_joint``.
    """
    form = _Form(
        "upscaler",
        lambda record: UpscalerNetwork(UpscalerConfig.from_record(record)),
        keys.UPSCALER,
    )
    return _load(form, path, config.to_record())


def converted(path: Path) -> Path:
    """Return the folder that a published file is converted to."""
    return path.with_name(f"{path.name}.converted")


@dataclass(frozen=True)
class _Form(Generic[Network]):
    name: str
    build: Callable[[Mapping[str, Any]], Network]
    rules: Rules


def _load(form: _Form[Network], path: Path, shape: Mapping[str, Any]) -> Network:
    if path.is_dir():
        return _read(form, path)
    folder = converted(path)
    if not path.exists():
        if (folder / CONFIG).is_file():
            return _read(form, folder)
        raise UserError(f"{path} is not there: get MM-Diffusion's weights from {HOME}")
    state = path.stat()
    wanted = {
        "network": form.name,
        # by way of JSON, which knows no tuples
        "shape": json.loads(json.dumps(shape)),
        "source": {"name": path.name, "bytes": state.st_size, "time": state.st_mtime_ns},
    }
    if not _holds(folder, wanted):
        _convert(form, path, folder, wanted)
    return _read(form, folder)


def _holds(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the folder was converted from this file, for this shape."""
    if not (folder / CONFIG).is_file():
        return False
    config = read_object(folder / CONFIG)
    return wanted.items() <= config.items()


def _convert(form: _Form[Network], path: Path, folder: Path, config: Mapping[str, Any]) -> None:
    published = state_dict(read_pickle(path), path)
    network = _filled(
        _empty(form, config["shape"], path), renamed(published, form.rules, path), path
    )
    write_tensors(folder / WEIGHTS, network.state_dict(), {"source": path.name})
    write_json(folder / CONFIG, {**config, "sha256": sha256(folder / WEIGHTS)})


def _read(form: _Form[Network], folder: Path) -> Network:
    config = read_object(folder / CONFIG)
    if config.get("network") != form.name:
        raise UserError(f"{folder / CONFIG} is not of MM-Diffusion's {form.name} network")
    path = folder / WEIGHTS
    if path.is_file() and sha256(path) != config.get("sha256"):
        raise UserError(
            f"{path} is damaged: delete {folder}, and it is made anew of the published file"
        )
    network = _empty(form, config.get("shape"), folder / CONFIG)
    return _filled(network, read_tensors(path), path)


def _empty(form: _Form[Network], record: Any, path: Path) -> Network:
    """Build the network without memory for its weights."""
    try:
        with torch.device("meta"):
            return form.build(record)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path} does not describe a network: convert the weights anew") from error


def _filled(network: Network, weights: Mapping[str, Tensor], path: Path) -> Network:
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        example = (missing or unknown)[0]
        raise UserError(
            f"{path} holds another network: {len(missing)} tensors missing and {len(unknown)} too "
            f"many, such as {example}; get MM-Diffusion's weights from {HOME}"
        )
    settled: dict[str, Tensor] = {}
    for name, parameter in own.items():
        tensor = weights[name]
        if _extent(tensor) != _extent(parameter):
            raise UserError(
                f"{path} holds another network: {name} has the shape {tuple(tensor.shape)}, not "
                f"{tuple(parameter.shape)}; get MM-Diffusion's weights from {HOME}"
            )
        if not tensor.isfinite().all():
            raise UserError(
                f"{path} is damaged: {name} has values that are no finite numbers; get it again "
                f"from {HOME}"
            )
        settled[name] = _settled(tensor.to(torch.float32).reshape(parameter.shape))
    network.load_state_dict(settled, assign=True)
    return network.eval().requires_grad_(False)  # noqa: FBT003


def _settled(weight: Tensor) -> Tensor:
    # channels innermost, as all layers have them, or each evaluation would reorder every kernel
    images = weight.ndim == 4
    return weight.contiguous(memory_format=torch.channels_last) if images else weight.contiguous()


def _extent(tensor: Tensor) -> list[int]:
    """Return the shape without axes of 1: a published matrix may be a convolution of one tap."""
    return [size for size in tensor.shape if size != 1]
