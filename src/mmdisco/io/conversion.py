"""Published pickles of weights, converted once to safetensors, which are read from then on.

    X.pt                                as published; no longer needed after the conversion
    X.pt.converted/model.safetensors    weights by our names, single precision
    X.pt.converted/config.json          network, shape, size and time of X.pt, SHA-256 of the
                                        weights; written last

Whatever stops a conversion, a kill included, leaves the previous folder, none, or one whose
checksum does not match, which is never loaded.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from torch import Tensor, nn

from mmdisco.errors import UserError
from mmdisco.io.files import (
    expect_writable,
    read_object,
    read_tensors,
    sha256,
    write_json,
    write_tensors,
)
from mmdisco.io.pickles import read_pickle, state_dict

Network = TypeVar("Network", bound=nn.Module)

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"


def converted(path: Path) -> Path:
    """Return the folder that a published file is converted to."""
    return path.with_name(f"{path.name}.converted")


@dataclass(frozen=True)
class PublishedNetwork(Generic[Network]):
    """A network whose weights are published as a pickle of a state dict.

    Attributes:
        name: Name of the network.
        shape: Configuration of the published network, in JSON's types.
        build: Function from such a configuration to the network.
        rename: Function from the published weights and their file to the weights by our names.
        advice: Function from the published weights to what to do about another network.
    """

    name: str
    shape: Mapping[str, Any]
    build: Callable[[Mapping[str, Any]], Network]
    rename: Callable[[dict[str, Tensor], Path], dict[str, Tensor]]
    advice: Callable[[Mapping[str, Tensor]], str]

    def load(self, path: Path) -> Network:
        """Load the network, frozen, on the CPU, in single precision.

        Args:
            path: The published file, which is converted unless it is already, or its converted
                folder, which is sufficient by itself and has a configuration of its own.

        Raises:
            UserError: The file is missing, damaged or of another network, or the folder cannot be
                written to or is damaged.
        """
        if path.is_dir():
            return self._read(path)
        folder = converted(path)
        if not path.exists():
            if (folder / CONFIG).is_file():
                return self._read(folder)
            raise UserError(f"{path} is not there: {self.advice({})}")
        if not self._is_current(path, folder):
            self._convert(path, folder)
        return self._read(folder)

    def translate(self, published: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
        """Return published weights by our names, in the network's shapes and single precision.

        Args:
            published: Weights by their published names.
            path: File of the weights, for messages.

        Raises:
            UserError: The weights are of another network, or not finite.
        """
        named = self.rename(published, path)
        if len(named) < len(published):
            raise UserError(f"{path} holds another network, some weights twice: get it again")
        return self._fitted(self._empty(self.shape, path), named, published, path)

    def _record(self, path: Path) -> dict[str, Any]:
        state = path.stat()
        return {
            "network": self.name,
            # by way of JSON, which knows no tuples
            "shape": json.loads(json.dumps(self.shape)),
            "source": {"name": path.name, "bytes": state.st_size, "time": state.st_mtime_ns},
        }

    def _is_current(self, path: Path, folder: Path) -> bool:
        if not (folder / CONFIG).is_file():
            return False
        return self._record(path).items() <= read_object(folder / CONFIG).items()

    def _convert(self, path: Path, folder: Path) -> None:
        weights = self.translate(state_dict(read_pickle(path), path), path)
        record = self._record(path)
        expect_writable(folder / CONFIG)
        write_tensors(folder / WEIGHTS, weights, {"source": path.name})
        write_json(folder / CONFIG, {**record, "sha256": sha256(folder / WEIGHTS)})

    def _read(self, folder: Path) -> Network:
        record = read_object(folder / CONFIG)
        if record.get("network") != self.name:
            raise UserError(f"{folder / CONFIG} is not that of {self.name}: name its own folder")
        path = folder / WEIGHTS
        if path.is_file() and sha256(path) != record.get("sha256"):
            raise UserError(f"{path} is damaged: delete {folder} and convert the published file")
        network = self._empty(record.get("shape"), folder / CONFIG)
        weights = read_tensors(path)
        network.load_state_dict(self._fitted(network, weights, weights, path), assign=True)
        return network.eval().requires_grad_(False)  # noqa: FBT003

    def _empty(self, shape: Any, path: Path) -> Network:
        try:
            with torch.device("meta"):
                return self.build(shape)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} does not describe a network: convert the published file again"
            ) from error

    def _fitted(
        self,
        network: Network,
        weights: Mapping[str, Tensor],
        published: Mapping[str, Tensor],
        path: Path,
    ) -> dict[str, Tensor]:
        """Return the weights in the shapes of the network, up to axes of 1, in single precision."""
        own = network.state_dict()
        missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
        fault = ""
        if missing or unknown:
            example = (missing or unknown)[0]
            fault = f"{len(missing)} tensors missing and {len(unknown)} too many, such as {example}"
        for name in own.keys() & weights.keys():
            given = weights[name]
            if extent(given) != extent(own[name]) or not given.is_floating_point():
                fault = fault or f"{name} is of shape {tuple(given.shape)} and {given.dtype}"
        if fault:
            raise UserError(
                f"{path} holds another network than was asked for ({fault}): "
                f"{self.advice(published)}"
            )
        for name, value in weights.items():
            if not value.isfinite().all():
                raise UserError(
                    f"{path} is damaged: {name} holds values that are not finite numbers; download "
                    "the published file again"
                )
        return {
            name: weights[name].to(torch.float32).reshape(value.shape)
            for name, value in own.items()
        }


def extent(tensor: Tensor) -> list[int]:
    """Return the shape without axes of 1: a published matrix may be a convolution of one tap."""
    return [size for size in tensor.shape if size != 1]
