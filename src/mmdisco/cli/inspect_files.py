"""What a file or a folder holds: records in lines, headers of tensors, clips."""

from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import evenly_spaced, select_pairs
from mmdisco.data.prepare.encode import skip_reason, statistics
from mmdisco.data.prepare.report import summary_lines
from mmdisco.data.prepared import SPLITS, PreparedFolder
from mmdisco.discriminators.hub import KIND, PretrainedDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.io.files import (
    MOST_LIST_BYTES,
    expect_file,
    parse_json,
    read_header,
    read_object,
    read_tensors,
    read_text,
    understood,
)
from mmdisco.media.clip import AudioVideo
from mmdisco.media.clock import rate_of
from mmdisco.media.geometry import pixel_shape
from mmdisco.media.opening import opened, picture_track, pictures
from mmdisco.media.read import ReadSpec, read_clip
from mmdisco.training.checkpoint import TrainingCheckpoint

MOST_CLIPS: Final = 8  # in a picture
_MOST_LINES: Final = 60
_BEGINNING: Final = Fraction(10)  # seconds of a media file that are read
# FFmpeg would take brackets for a song's words or for noise
_TEXTS: Final = frozenset(
    (".csv", ".html", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml")
)


def describe(path: Path) -> list[str]:
    """Describe a file or a folder; checksums are verified.

    Raises:
        UserError: It is not there, damaged, or of no known kind.
    """
    if not path.exists():
        raise UserError(f"{path} is not there: give a file or a folder")
    if path.is_dir():
        for name, lines in _FOLDERS.items():
            if (path / name).is_file():
                return lines(path)
        if any(path.glob("*.safetensors")):
            return _weights(path)
    elif expect_file(path) >= 0 and path.suffix == ".safetensors":
        return _tensors(path)
    elif path.suffix.lower() not in _TEXTS:
        return _media(path)
    raise UserError(
        f"{path} is neither a folder of data or weights, nor a safetensors file, nor a film: give "
        "another one"
    )


def clips_of(path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
    """Return a few clips by title: latents decoded, or the beginning of a media file.

    Args:
        path: A file or a folder that ``describe`` knows.
        weights: Folder of weights to decode with; None is the one that the latents were made with.

    Raises:
        UserError: It holds no clips, or the models that decode them are not here.
    """
    if (path / "prepared.json").is_file():
        return _prepared_clips(path, weights)
    if (path / "fakes.json").is_file():
        path /= SPLITS[0]
    if (path / "store.json").is_file():
        z_0, folder = _store(path).read().z_0, path.parent
    elif path.suffix == ".safetensors" and "audio.z_0" in read_header(path).shapes:
        tensors, folder = read_tensors(path), path.parent.parent
        z_0 = AV(tensors["audio.z_0"], tensors["video.z_0"])
    elif path.is_file() and path.suffix != ".safetensors":
        return {path.name: _beginning(path)}
    else:
        raise UserError(f"{path} holds nothing to be drawn: leave --picture out")
    few = z_0.map(lambda latents: latents[:MOST_CLIPS])
    titles = [f"row {row}" for row in range(len(few.audio))]
    return _decoded(folder, few, titles, weights)


def _prepared(path: Path) -> list[str]:
    prepared = PreparedFolder(path)
    about, manifest = prepared.about, prepared.manifest
    height, width = about["size"]
    lines = [
        f"prepared for {prepared.preset}: clips of {about['seconds']:g} s, {height}x{width} at "
        f"{about['fps']:g} fps, sound at {about['sample_rate']} Hz",
        *summary_lines(read_object(path / "report.json")),
    ]
    for split in SPLITS:
        files = len({one["source"] for one in manifest[split]})
        lines.append(f"{split}: {_counted(prepared.store(split))} from {files} files")
    captions = Counter(
        caption or "(none)" for own in prepared.captions.values() for caption in own
    ).most_common()
    lines.append(f"captions: {len(captions)} different")
    return lines + [f"  {count} × {caption}" for caption, count in captions[:10]]


def _prepared_clips(path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
    prepared = PreparedFolder(path)
    clips = prepared.manifest[SPLITS[0]]
    chosen = [clips[row] for row in evenly_spaced(len(clips), MOST_CLIPS)]
    pairs = select_pairs(prepared.store(SPLITS[0]).read(), [one["index"] for one in chosen])
    titles = [f"{one['source']} at {one['start']:g} s: {one['caption']}" for one in chosen]
    lines = [" ".join(one.encode("utf-8", "replace").decode().split()) for one in titles]
    distinct = [f"{line} ({i})" if line in lines[:i] else line for i, line in enumerate(lines)]
    return _decoded(path, pairs.z_0, distinct, weights)


def _fakes(path: Path) -> list[str]:
    record = read_object(path / "fakes.json")
    names = ("steps", "scheduler", "cfg_scale", "seed", "samples_per_clip", "max_per_caption")
    how = ", ".join(f"{name} {record[name]}" for name in names if record.get(name) is not None)
    lines = [f"fakes of the base models of {_title(record)}: {how}"]
    for split in SPLITS:
        store = PairStore(path / split, "fake")
        if store.shards:
            store.read()  # verifies every checksum
        lines.append(f"{split}: {_counted(store)}")
    if not (path / "manifest.jsonl").is_file():
        lines.append("not finished: give mmdisco sample-fakes once more")
    return lines


def _training(path: Path) -> list[str]:
    lines = ["a training that is not finished: give mmdisco train once more"]
    if (path / "config.json").is_file():
        lines = _discriminator(path)
    folders = {"contrastive pretraining": "training/pretraining", "training": "training"}
    for name, folder in folders.items():
        log = path / folder / "log.jsonl"
        if log.is_file():
            *_, last = ["", *read_text(log, MOST_LIST_BYTES).splitlines()]
            lines.append(f"{name}: step {parse_json(last, str(log))['step'] if last else 0}")
    return lines


def _discriminator(path: Path) -> list[str]:
    found = PretrainedDiscriminator.load(path)
    config = found.network.config
    numbers = sum(one.numel() for one in found.network.parameters())
    fusion = type(config.fusion).__name__.removesuffix("Config")
    lines = [
        f"a discriminator for {found.preset}: {numbers:,} numbers, width {config.width}, {fusion}"
    ]
    clips: Mapping[str, Any] | None = found.facts.get("clips")
    if clips is not None:
        lines.append(
            f"trained on {clips['train']} clips with {clips['captions']} different captions "
            f"and {clips['fakes']} fakes; {clips['validation']} clips held out"
        )
    return lines


def _config(path: Path) -> list[str]:
    is_discriminator = read_object(path / "config.json").get("kind") == KIND
    return _training(path) if is_discriminator else _weights(path)


def _weights(path: Path) -> list[str]:
    lines = ["a folder of weights"]
    for file in sorted(path.glob("*.safetensors")):
        size = file.stat().st_size / 1e6
        lines.append(f"{file.name}: {len(read_header(file).shapes)} tensors, {size:.1f} MB")
    if (path / "config.json").is_file():
        record = read_object(path / "config.json")
        lines += ["config.json:", *(_short(f"  {key}: {one}") for key, one in record.items())]
    return lines


def _store(path: Path) -> PairStore:
    return PairStore(path, str(read_object(path / "store.json")["kind"]))


def _pairs(path: Path) -> list[str]:
    store = _store(path)
    pairs = store.read()
    tensors = {
        "audio.z_0": pairs.z_0.audio,
        "video.z_0": pairs.z_0.video,
        "audio.pooled": pairs.cond.audio.pooled,
        "video.pooled": pairs.cond.video.pooled,
    }
    return [f"a store of {store.kind} pairs: {_counted(store)}", *_statistics(tensors)]


def _tensors(path: Path) -> list[str]:
    header = read_header(path)
    if "audio.z_0" in header.shapes:
        tensors, kind = read_tensors(path), header.metadata.get("kind", "unnamed")
        return [f"a shard of {len(tensors['audio.z_0'])} {kind} pairs", *_statistics(tensors)]
    if "run" in header.metadata:
        checkpoint = TrainingCheckpoint.load(path)
        lines = [f"a training checkpoint after {checkpoint.step} steps"]
        lines += [f"  {name}: {value}" for name, value in checkpoint.settings.items()]
    else:
        numbers = sum(torch.Size(shape).numel() for shape in header.shapes.values())
        lines = [f"weights: {numbers:,} numbers in {len(header.shapes)} tensors"]
        lines += [_short(f"  {name}: {value}") for name, value in header.metadata.items()]
    rows = [f"{name}: {header.types[name]} {list(shape)}" for name, shape in header.shapes.items()]
    rest = len(rows) - _MOST_LINES
    return lines + rows[:_MOST_LINES] + ([f"and {rest} more"] if rest > 0 else [])


def _media(path: Path) -> list[str]:
    with opened(path) as container:
        lines = [f"a file of {container.format.long_name}"]
        if container.duration:
            lines[0] += f", {container.duration / 1e6:.2f} s"
        for one in pictures(container):
            rate = float(rate_of(container))
            lines.append(f"picture: {one.codec.name} {one.width}x{one.height}, {rate:.3f} fps")
        for one in container.streams.audio:
            lines.append(f"sound: {one.codec.name} at {one.rate} Hz, channels: {one.channels}")
        if len(lines) == 1:
            raise UserError(f"{path} has neither a picture nor a sound track")
        both = bool(pictures(container)) and bool(container.streams.audio)
    if both:
        clip = _beginning(path)
        values = ", ".join(f"{name} {value:g}" for name, value in statistics(clip).items())
        lines.append(f"the first {float(clip.video.seconds):g} s: {values}")
        reason = skip_reason(clip)
        if reason is not None:
            lines.append(f"of no use for training: {reason.category}")
    return lines


def _beginning(path: Path) -> AudioVideo:
    with opened(path) as container:
        picture = picture_track(container)
        aspect = float(picture.width * pixel_shape(picture) / max(1, picture.height))
    # a large film at its own size would fill the memory
    width = min(576, max(36, round(144 * aspect)))
    return read_clip(path, ReadSpec(seconds=_BEGINNING, fps=Fraction(8), size=(144, width)))


# files that tell the kind of a folder, the first that is there
_FOLDERS: Final = {
    "prepared.json": _prepared,
    "blocks/plan.jsonl": _prepared,
    "fakes.json": _fakes,
    "training.yaml": _training,
    "store.json": _pairs,
    "config.json": _config,
}


def _decoded(
    folder: Path, z_0: AV[Tensor], titles: list[str], weights: Path | None
) -> Mapping[str, AudioVideo]:
    """Decode latents by the models that the record of ``folder`` names."""
    if (folder / "fakes.json").is_file():
        record = read_object(folder / "fakes.json")
        # fakes are the same on every device, and do not name one
        options: dict[str, Any] = {**record["options"], "device": "cpu"}
        made_with, hashes = None, record["weights"]
    else:
        record = PreparedFolder(folder).about
        options, made_with, hashes = record["options"], record["weights"], record["weight_hashes"]
    chosen = weights or (None if made_with is None else Path(made_with))
    with understood(folder):
        config = SystemConfig(preset=record["preset"], weights=chosen, **options)
    system = system_of(config)
    if not hashes.items() <= dict(system.weight_hashes()).items():
        raise UserError(
            f"{folder} was made with other weights of {_title(record)}: name them with --weights"
        )
    model = system.model()
    with torch.no_grad():
        sounds, videos = model.decode_audio(z_0.audio), model.decode_video(z_0.video)
    clips = [AudioVideo(*both) for both in zip(sounds, videos, strict=True)]
    return dict(zip(titles, clips, strict=True))


def _title(record: Mapping[str, Any]) -> str:
    """Return the name of the preset of a record, or of its models."""
    options = record["options"]
    one = record["preset"] or options.get("joint_model")
    return one or f"{options.get('video_model')} with {options.get('audio_model')}"


def _counted(store: PairStore) -> str:
    lengths = store.lengths
    sizes = f" of {min(lengths)} to {max(lengths)}" if lengths else ""
    return f"{len(store)} pairs in {store.shards} shards{sizes}"


def _statistics(tensors: Mapping[str, Tensor]) -> list[str]:
    """Describe tensors by type, shape, mean, standard deviation and range, a line each."""
    lines: list[str] = []
    for name in sorted(tensors):
        tensor = tensors[name]
        line = f"{name}: {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        if tensor.numel() and tensor.is_floating_point():
            values = tensor.float()
            low, high = (float(end) for end in torch.aminmax(values))
            std = float(values.std(correction=0))
            line += f", mean {float(values.mean()):.3f}, std {std:.3f}, {low:.3f} to {high:.3f}"
        lines.append(line)
    return lines


def _short(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:119]}…"
