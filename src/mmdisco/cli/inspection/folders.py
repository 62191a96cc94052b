"""Folders: what ``mmdisco prepare`` made, stores of pairs, weights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mmdisco.cli.inspection.kind import MOST_CLIPS, FileKind
from mmdisco.cli.inspection.tensors import decoded, figures
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import select_pairs
from mmdisco.data.prepare.report import summary_lines
from mmdisco.data.prepare.sources import PARTS
from mmdisco.data.prepared import PreparedFolder
from mmdisco.errors import UserError
from mmdisco.io.files import read_header, read_object
from mmdisco.media.clip import AudioVideo

_MOST_CAPTIONS: Final = 10


class PreparedKind(FileKind):
    """What ``mmdisco prepare`` made."""

    def fits(self, path: Path) -> bool:
        """It says so, or was begun."""
        return (path / "prepared.json").is_file() or (path / "blocks" / "plan.jsonl").is_file()

    def words(self, path: Path) -> list[str]:
        """For which pair, how many clips, what of, and what was left out."""
        prepared = PreparedFolder(path)
        about, manifest = prepared.about, prepared.manifest
        height, width = about["size"]
        lines = [
            f"prepared for {about['preset']}: clips of {about['seconds']:g} s, {height}x{width} at "
            f"{about['fps']:g} fps, sound at {about['sample_rate']} Hz",
            *summary_lines(read_object(path / "report.json")),
        ]
        for part in PARTS:
            store, clips = prepared.store(part), [one for one in manifest if one["part"] == part]
            if len(store) != len(clips):
                raise UserError(
                    f"{path / part} holds {len(store)} pairs, the manifest {len(clips)}: run "
                    "mmdisco prepare again"
                )
            lines.append(f"{part}: {counted(store)} from {_sources(clips)}")
        captions = Counter(one["caption"] or "(none)" for one in manifest).most_common()
        lines.append(f"captions: {len(captions)} different")
        lines += [f"  {count} × {caption}" for caption, count in captions[:_MOST_CAPTIONS]]
        return lines

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """Some of the training clips, spread over all, decoded."""
        prepared = PreparedFolder(path)
        clips = [one for one in prepared.manifest if one["part"] == PARTS[0]]
        count = min(MOST_CLIPS, len(clips))
        chosen = [clips[i * len(clips) // count] for i in range(count)]
        pairs = select_pairs(prepared.store(PARTS[0]).read(), [one["index"] for one in chosen])
        titles = [f"{one['source']} at {one['start']:g} s: {one['caption']}" for one in chosen]
        return decoded(path, pairs.z_0.audio, pairs.z_0.video, _distinct(titles), weights)


class Store(FileKind):
    """Pairs in shards."""

    def fits(self, path: Path) -> bool:
        """It has a list of shards."""
        return (path / "store.json").is_file()

    def words(self, path: Path) -> list[str]:
        """Counts, then figures of all pairs; every checksum is looked at."""
        store = _open(path)
        pairs = store.read()
        tensors = {
            "audio.z_0": pairs.z_0.audio,
            "video.z_0": pairs.z_0.video,
            "audio.pooled": pairs.cond.audio.pooled,
            "video.pooled": pairs.cond.video.pooled,
        }
        return [f"a store of {store.kind} pairs: {counted(store)}", *figures(tensors)]

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """The first ones, decoded."""
        store = _open(path)
        rows = list(range(min(MOST_CLIPS, len(store))))
        pairs = select_pairs(store.read(), rows)
        titles = [f"row {row}" for row in rows]
        return decoded(path.parent, pairs.z_0.audio, pairs.z_0.video, titles, weights)


class WeightsFolder(FileKind):
    """Weights with their configuration."""

    def fits(self, path: Path) -> bool:
        """It holds a safetensors file."""
        return path.is_dir() and any(path.glob("*.safetensors"))

    def words(self, path: Path) -> list[str]:
        """Numbers and bytes of every file, and the configuration's first level."""
        lines = ["a folder of weights"]
        for file in sorted(path.glob("*.safetensors")):
            shapes = read_header(file).shapes
            size = file.stat().st_size / 1e6
            lines.append(f"{file.name}: {len(shapes)} tensors, {size:.1f} MB")
        config = path / "config.json"
        if config.is_file():
            record: Any = read_object(config)
            lines.append("config.json:")
            lines += [f"  {key}: {_short(value)}" for key, value in dict(record).items()]
        return lines


def _open(path: Path) -> PairStore:
    return PairStore(path, str(read_object(path / "store.json")["kind"]))


def counted(store: PairStore) -> str:
    """How many pairs in how many shards."""
    lengths = store.lengths
    sizes = f" of {min(lengths)} to {max(lengths)}" if lengths else ""
    return f"{len(store)} pairs in {store.shards} shards{sizes}"


def _sources(clips: Sequence[Mapping[str, Any]]) -> str:
    return f"{len({one['source'] for one in clips})} files"


def _distinct(titles: Sequence[str]) -> list[str]:
    """Titles of one line, each another."""
    lines = [" ".join(one.encode("utf-8", "replace").decode().split()) for one in titles]
    return [f"{line} ({i})" if line in lines[:i] else line for i, line in enumerate(lines)]


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:99]}…"
