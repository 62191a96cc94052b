"""Files of a clip, and its record: JSON of its resolved request and its environment.

The record is enough to make the clip again. Knows requests and files; samples nothing.
"""

import platform
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final

from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object, sha256
from mmdisco.io.reports import versions
from mmdisco.io.settings import Settings
from mmdisco.media.clip import AudioVideo, Video

if TYPE_CHECKING:
    import torch

    from mmdisco.media.copying import Picture, Sound

MAKER: Final = "mmdisco generate"
LIBRARIES: Final = ("mmdisco", "torch", "diffusers", "transformers", "numpy", "scipy", "av")
BESIDE: Final = ("made_by", "sample", "environment", "took_seconds")
"""Keys of a record beside those of its request."""
LOGITS: Final = "candidate_logits"
"""Key of a clip that was chosen among candidates."""
SIZES: Final = "effective_sample_sizes"
"""Key of a clip whose candidates were resampled on the way."""
SHOWN_SIDE: Final = 256  # pixels; smaller pictures are magnified up to it
DRAWN_SIDE: Final = 64
LONGEST_TITLE: Final = 100


@dataclass(frozen=True)
class OutputPaths:
    """Files of one clip, all of one stem.

    Attributes:
        clip: Sound and picture.
        wav: Whether the sound is written by itself too.
    """

    clip: Path
    wav: bool

    @property
    def sound(self) -> Path:
        """The sound by itself."""
        return self.clip.with_suffix(".wav")

    @property
    def picture(self) -> Path:
        """The drawing of the clip."""
        return self.clip.with_suffix(".png")

    @property
    def record(self) -> Path:
        """The record that makes the clip again; written last."""
        return self.clip.with_suffix(".json")

    @property
    def all(self) -> list[Path]:
        """Every file, in the order of writing."""
        return [self.clip, *([self.sound] if self.wav else []), self.picture, self.record]


@dataclass(frozen=True)
class Given:
    """The given side of the clips of one config.

    Attributes:
        picture: That of the given video, if it can be copied.
        sound: That of the given sound.
        magnified: Whether small pictures are: those that are made, not one that is given.
        used: How much of the file is used and what becomes of it, in a line; "" without a file.
    """

    picture: "Picture | None" = None
    sound: "Sound | None" = None
    magnified: bool = True
    used: str = ""

    @staticmethod
    def of(config: GenerateConfig, seconds: Fraction, suffix: str) -> "Given":
        """Return what the clips of a request take over.

        Args:
            config: Request, with or without a given file.
            seconds: Length of the clips.
            suffix: Ending of their names.

        Raises:
            UserError: The file cannot be read.
        """
        if config.given is None:
            return Given()
        from mmdisco.media.conditioning_clip import share
        from mmdisco.media.copying import Picture, Sound

        start = config.start
        if config.video is not None:
            picture = Picture(config.video, start, seconds)
            copied = picture.can_be_copied
            way = f"the picture {'copied' if copied else 'encoded anew'}"
            used = f"{share(config.video, start, seconds)}, {way}"
            return Given(picture if copied else None, None, magnified=False, used=used)
        sound = Sound(config.given, start, seconds, config.audio_track)
        used = f"{share(config.given, start, seconds)}, {sound.way(suffix)}"
        return Given(sound=sound, used=used)

    def write(self, clip: AudioVideo, outputs: OutputPaths, title: str) -> None:
        """Write a clip and all that lies beside it except its record.

        Args:
            clip: The clip.
            outputs: Files to write.
            title: Title of the picture, as ``title_of`` returns it.

        Raises:
            UserError: A file cannot be written.
        """
        from mmdisco.media.plots import draw_clips
        from mmdisco.media.write import write_audio, write_clip

        least = SHOWN_SIDE if self.magnified else 1
        magnify = max(1, least // max(clip.video.frames.shape[1:3]))
        write_clip(outputs.clip, clip, magnify, self.picture, self.sound)
        if outputs.wav:
            write_audio(outputs.sound, clip.audio)
        with warnings.catch_warnings():
            # a letter of the prompt that the font lacks is drawn as a box, and that is all
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            draw_clips(outputs.picture, {title: AudioVideo(clip.audio, _small(clip.video))})


class Environment(Settings):
    """Everything that decides a clip beside its request."""

    versions: dict[str, str]
    """Versions of the libraries, the encoder's among them."""
    threads: int
    """Number of threads of the arithmetic; another number rounds differently."""
    machine: str
    """Processor or device, with its instructions."""
    weights: dict[str, str]
    """Checksums of the weights by name."""
    given: str | None
    """SHA-256 of the given file, if there is one."""

    @staticmethod
    def of_run(configs: Sequence[GenerateConfig], system: JointSystem) -> "list[Environment]":
        """Record the present environment of each request of a run; a file is read once.

        Args:
            configs: Requests of one system.
            system: The system.

        Raises:
            UserError: A given file cannot be read, or the device cannot be used.
        """
        import torch

        machine = device_name(configs[0].torch_device())
        found = libraries(*LIBRARIES)
        given = {path: sha256(path) for path in {one.given for one in configs} if path is not None}
        return [
            Environment(
                versions=found,
                threads=torch.get_num_threads(),
                machine=machine,
                weights=_weights(one, system),
                given=None if one.given is None else given[one.given],
            )
            for one in configs
        ]


@dataclass(frozen=True)
class ClipMetadata:
    """Contents of a record.

    Attributes:
        config: Resolved request of the whole batch; its folder of weights is not part of a record.
        sample: Index in the batch of the sample that the record describes, from 0.
        environment: Environment in which the clip was made.
        logits: The discriminator's logit of every candidate, the largest of which is the clip's.
        sizes: Effective sample size of the candidates at each look, with its step.
    """

    config: GenerateConfig
    sample: int
    environment: Environment
    logits: Sequence[float] | None = None
    sizes: Sequence[Mapping[str, Any]] = ()

    def changes(self, now: Environment) -> str | None:
        """Describe in one line what differs from when the clip was made; None if nothing does.

        Raises:
            UserError: The given file has changed, so the clip cannot be made again.
        """
        then = self.environment
        if then.given != now.given:
            raise UserError(
                f"{self.config.given} has changed since: this clip cannot be made again"
            )
        others = [
            f"{name} was {old} and is {now.versions.get(name)}"
            for name, old in then.versions.items()
            if now.versions.get(name) != old
        ]
        if then.threads != now.threads:
            others.append(
                f"threads were {then.threads} and are {now.threads} (give --threads {then.threads})"
            )
        if then.machine != now.machine:
            others.append(f"computed on {then.machine!r} and now on {now.machine!r}")
        if then.weights != now.weights:
            others.append("the weights are of another version")
        if not others:
            return None
        return f"the clip may come out otherwise: {'; '.join(others)}"

    def to_record(self, took_seconds: float) -> dict[str, Any]:
        """Return the record for JSON, with the duration of the whole batch."""
        chosen: dict[str, Any] = {}
        if self.logits is not None:
            chosen[LOGITS] = [round(one, 4) for one in self.logits]
        if self.sizes:
            chosen[SIZES] = [dict(one) for one in self.sizes]
        return {
            "made_by": MAKER,
            **self.config.to_record(),
            "sample": self.sample,
            **chosen,
            "environment": self.environment.tree(),
            "took_seconds": round(took_seconds, 2),
        }


def _weights(config: GenerateConfig, system: JointSystem) -> dict[str, str]:
    """Return the checksums of the weights, with that of a distilled network where it guides."""
    own = dict(system.weight_hashes())
    if config.guidance != "distilled":
        return own
    from mmdisco.discriminators.distilled import read_distilled

    record = read_distilled(system.distilled_folder(), own["discriminator"])
    return {**own, "distilled": str(record["sha256"])}


def read_record(path: Path, weights: Path | None = None) -> ClipMetadata:
    """Read a record that ``ClipMetadata.to_record`` built.

    Args:
        path: The file.
        weights: Folder of weights, which a record does not name.

    Raises:
        UserError: The file cannot be read, or is no record; a key that is unknown is named.
    """
    values = read_object(path)
    try:
        if values.get("made_by") != MAKER:
            raise UserError(f"made_by {values.get('made_by')!r}")
        beside = (*BESIDE, LOGITS, SIZES)
        options = {name: one for name, one in values.items() if name not in beside}
        config = GenerateConfig(**options, weights=weights)
        _expect_whole(config, values)
        environment = Environment.of_tree({**values["environment"]}, "environment")
        if (environment.given is None) != (config.given is None):
            raise UserError("a given file and its checksum belong together")
        sample: Any = values["sample"]
        if sample not in range(config.samples):
            raise UserError(f"sample {sample!r} of {config.samples}")
    except (UserError, TypeError) as error:
        reason = str(error) if isinstance(error, UserError) else "its environment is no section"
        raise UserError(
            f"{path} is no record of a clip: give the .json file that lies beside one ({reason})"
        ) from error
    return ClipMetadata(config, int(sample), environment)


def _expect_whole(config: GenerateConfig, values: Mapping[str, Any]) -> None:
    """Check that a record lacks nothing that one of a resolved request has."""
    wanted = {*config.to_record(), *BESIDE, "steps"} - {"weights"}
    lacking = sorted(name for name in wanted if values.get(name) is None)
    if lacking:
        raise UserError(f"it lacks {', '.join(lacking)}")


def libraries(*names: str) -> dict[str, str]:
    """Return the versions of Python, of installed distributions, and of PyAV's FFmpeg and x264."""
    import av

    return {**versions(*names), "ffmpeg": av.ffmpeg_version_info, "x264": _x264()}


def processor() -> str:
    """Return architecture, name and the instructions that torch uses: others round differently."""
    import torch

    named = str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor())
    told = (platform.machine(), named.strip(), torch.backends.cpu.get_cpu_capability())
    return ", ".join(part for part in told if part)


def device_name(device: "torch.device") -> str:
    """Return the make of a device; that of the processor for "cpu"."""
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return processor() if device.type == "cpu" else device.type


@cache
def _x264() -> str:
    """Read the version of the encoder, which it writes nowhere but into the streams it makes."""
    import av

    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 16, 16, "yuv420p"
    context.time_base, context.thread_count = Fraction(1), 1
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.pts = 0
    stream = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode()])
    found = re.search(rb"x264 - core (\d+(?: r\d+ \w+)?)", stream)
    return "unknown" if found is None else found[1].decode()


def title_of(config: GenerateConfig) -> str:
    """Return the title of a clip's picture: the prompt, or the name of the given file."""
    said = config.caption.strip() or (config.given.name if config.given else "")
    # matplotlib would take what lies between two dollars for a formula
    return shorten(said, LONGEST_TITLE).replace("$", r"\$")


def _small(video: Video) -> Video:
    """The middle square of every frame, thinned out: a drawing has 60 pixels for it."""
    height, width = video.frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    step = max(1, side // DRAWN_SIDE)
    rows, columns = slice(top, top + side, step), slice(left, left + side, step)
    return Video(video.frames[:, rows, columns], video.fps)
