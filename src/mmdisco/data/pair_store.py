"""Pairs on disk: shards of latents and encoded captions, independent of any model.

A store is a folder of ``shard-00000.safetensors`` files and a ``store.json`` that lists them with
their lengths and checksums. The list is written last, so a shard that a crash left unlisted is made
again; one that has changed since is named.
"""

from pathlib import Path

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.data.pairing import select_pairs
from mmdisco.errors import UserError
from mmdisco.io.files import (
    read_object,
    read_tensors,
    sha256,
    understood,
    write_json,
    write_tensors,
)


class PairStore(PairSource):
    """Real or generated pairs in a folder, appended one shard at a time.

    Args:
        folder: Folder of the store, made with the first shard.
        kind: ``real`` or ``fake``; a folder of the other kind is refused.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._loaded: Pairs | None = None
        index = folder / "store.json"
        self._lengths: list[int] = []
        self._sums: list[str | None] = []
        if index.is_file():
            record = read_object(index)
            if record.get("kind") != kind:
                raise UserError(
                    f"{folder} holds {str(record.get('kind'))[:40]} pairs, {kind} ones are wanted: "
                    "give another folder"
                )
            with understood(index):
                self._lengths = [int(one) for one in record["lengths"]]
                # stores of earlier versions have no checksums
                self._sums = list(record.get("sha256", [None] * len(self._lengths)))
            if min(self._lengths, default=1) < 1 or len(self._sums) != len(self._lengths):
                raise UserError(f"{index} is damaged: make the store again")

    @staticmethod
    def restored(folder: Path, kind: str) -> "PairStore":
        """Open a store; it is empty if its list is damaged, since then no shard can be trusted.

        Raises:
            UserError: The folder is of the other kind.
        """
        index = folder / "store.json"
        try:
            read_object(index)
        except UserError:
            index.unlink(missing_ok=True)
        return PairStore(folder, kind)

    def __len__(self) -> int:
        return sum(self._lengths)

    @property
    def kind(self) -> str:
        """Kind of the pairs, ``real`` or ``fake``."""
        return self._kind

    @property
    def shards(self) -> int:
        """Number of complete shards."""
        return len(self._lengths)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Number of pairs in each shard."""
        return tuple(self._lengths)

    def append(self, pairs: Pairs) -> None:
        """Append a shard.

        Raises:
            UserError: A latent is not finite, or the folder cannot be written.
        """
        self.put(self.shards, pairs)

    def put(self, index: int, pairs: Pairs) -> None:
        """Append or overwrite a shard.

        Args:
            index: Index of the shard; at most ``shards``, which appends one.
            pairs: Contents of the shard.

        Raises:
            UserError: A latent is not finite, or the folder cannot be written.
        """
        if not 0 <= index <= self.shards:
            raise ValueError(f"shard {index} of a store of {self.shards}")
        tensors = _tensors(pairs)
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise UserError(f"{name} has values that are not finite: nothing was stored")
        write_tensors(self.path(index), tensors, {"kind": self._kind})
        self._lengths[index : index + 1] = [len(pairs)]
        self._sums[index : index + 1] = [sha256(self.path(index))]
        record = {"kind": self._kind, "lengths": self._lengths, "sha256": self._sums}
        write_json(self._folder / "store.json", record)
        self._loaded = None

    def path(self, index: int) -> Path:
        """Return the file of a shard."""
        return self._folder / f"shard-{index:05d}.safetensors"

    def is_whole(self, index: int) -> bool:
        """Check that a shard exists and, where the store has checksums, that it is unchanged."""
        path = self.path(index)
        if index >= self.shards or not path.is_file():
            return False
        return self._sums[index] in (None, sha256(path))

    def read(self) -> Pairs:
        """Read all pairs, in order.

        Raises:
            UserError: The store is empty, or a shard is damaged or holds values that are not
                finite.
        """
        if not self._lengths:
            raise UserError(f"{self._folder} holds no {self._kind} pairs: fill it first")
        shards: list[dict[str, Tensor]] = []
        for index, length in enumerate(self._lengths):
            path = self.path(index)
            if path.is_file() and not self.is_whole(index):
                raise UserError(
                    f"{path} is damaged, its checksum is not the one in store.json: give the "
                    "command that made it again"
                )
            tensors = read_tensors(path)
            for name, tensor in tensors.items():
                if tensor.ndim == 0 or len(tensor) != length or not bool(tensor.isfinite().all()):
                    raise UserError(
                        f"{path}: {name} has values that are not finite, or not {length} rows; "
                        "make the store again"
                    )
            shards.append(tensors)
        with understood(self._folder):
            return _pairs({name: torch.cat([one[name] for one in shards]) for name in shards[0]})

    def draw(self, count: int, generator: Generator) -> Pairs:
        """Draw pairs with replacement; the store is read into memory at the first draw."""
        if self._loaded is None:
            self._loaded = self.read()
        index = torch.randint(len(self), (count,), generator=generator)
        return select_pairs(self._loaded, index)


def _tensors(pairs: Pairs) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in ("audio", "video"):
        cond: Conditioning = getattr(pairs.cond, name)
        tensors[f"{name}.z_0"] = getattr(pairs.z_0, name)
        # two models may share one text encoder, and safetensors does not store one tensor twice
        tensors[f"{name}.pooled"] = cond.pooled.clone()
        tensors |= {f"{name}.native.{i}": one for i, one in enumerate(cond.embeds)}
    return tensors


def _pairs(tensors: dict[str, Tensor]) -> Pairs:
    def cond(name: str) -> Conditioning:
        prefix = f"{name}.native."
        count = sum(key.startswith(prefix) for key in tensors)
        embeds = tuple(tensors[f"{prefix}{i}"] for i in range(count))
        return Conditioning(tensors[f"{name}.pooled"], embeds)

    return Pairs(AV(tensors["audio.z_0"], tensors["video.z_0"]), AV(cond("audio"), cond("video")))
