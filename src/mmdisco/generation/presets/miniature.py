"""The embedded pair: a preset, and a folder of safetensors files and ``config.json``.

The files are in half precision; the networks run in single. ``config.json`` holds the shapes, the
vocabulary, the default settings and the SHA-256 of every file, so that a damaged one is named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from typing_extensions import override

from mmdisco.adapters.miniature import FORM, PACKAGED
from mmdisco.adapters.miniature.vocabulary import Vocabulary
from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef, Preset
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.io.files import (
    read_object,
    read_tensors,
    sha256,
    understood,
    write_json,
    write_tensors,
)
from mmdisco.media.clip import ClipSpec

# torch takes seconds to import, which the check of a prompt need not wait for
if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import nn

    from mmdisco.adapters.miniature.autoencoder import NormalizedVAE
    from mmdisco.adapters.miniature.denoiser import VelocityDenoiser
    from mmdisco.adapters.miniature.model import TextEncoder
    from mmdisco.core.denoiser import IndependentModels
    from mmdisco.core.noise import NoiseSchedule
    from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
    from mmdisco.generation.pipeline import GuidanceOrder

    Network = TypeVar("Network", bound=nn.Module)
else:
    Network = TypeVar("Network")


ONE_SCENE_BELOW: Final = -2.0
"""``WindowedDenoiser.one_scene_below``: the place of things and the background are decided there,
and movements are not."""


@dataclass(frozen=True)
class MiniatureSystem(JointSystem):
    """System of a folder of the pair's weights.

    Attributes:
        path: The folder.
        seconds: Length of the clips, 1.6 or longer by whole frames.

    Raises:
        UserError: A file is missing, damaged or of another shape, at the first use of it.
    """

    path: Path = PACKAGED
    seconds: Fraction = FORM.seconds

    def text(self) -> "TextEncoder":
        """Text encoder with the pair's vocabulary."""
        from mmdisco.adapters.miniature.model import TextEncoder

        return self.load("text_encoder", lambda: TextEncoder(self._words))

    @property
    @override
    def prompted(self) -> bool:
        return True

    @property
    @override
    def independent(self) -> bool:
        return True

    @property
    def form(self) -> ClipSpec:
        """Clips of 64×64 at 10 fps, with sound at 16 kHz."""
        return replace(FORM, seconds=self.seconds)

    @property
    @override
    def window(self) -> Fraction:
        return FORM.seconds

    @property
    def method(self) -> "GuidanceOrder":
        """Joint guidance around classifier-free guidance; in each window of a longer clip."""
        from mmdisco.generation.pipeline import JointOutsideCFG

        if self.seconds == self.window:
            return JointOutsideCFG()
        from mmdisco.generation.windows import InWindows, overlapping_windows

        long, short = (
            self.model().latent_shapes(float(one)) for one in (self.seconds, self.window)
        )
        steps = [shapes.map(lambda shape: shape[1]) for shapes in (long, short)]
        return InWindows(JointOutsideCFG(), overlapping_windows(*steps), ONE_SCENE_BELOW)

    def expect(self, demand: Requirements) -> list[str]:
        """Check the prompt; warn of unknown words, with their nearest known, and of replaced ones.

        Raises:
            UserError: No word is known.
        """
        vocabulary, notices = Vocabulary(tuple(self.config["words"])), list[str]()
        # an empty prompt, which a given file allows, holds no unknown word
        if demand.prompt.strip():
            notices += vocabulary.notices(demand.prompt)
        if demand.negative.strip():
            try:
                unlike = vocabulary.notices(demand.negative)
            except UserError as error:
                raise UserError(f"negative prompt: {error}") from error
            notices += [f"negative prompt: {line}" for line in unlike]
        return notices

    def weight_hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file, from ``config.json``."""
        with understood(self.path / "config.json"):
            return dict(self.config["sha256"])

    def model(self, seeds: Sequence[int] = ()) -> "IndependentModels":
        """Load both base models once; they draw no random numbers, so ``seeds`` has no effect."""
        return self._bases

    @cached_property
    def _bases(self) -> "IndependentModels":
        from mmdisco.adapters.miniature.autoencoder import (
            build_audio_autoencoder,
            build_video_autoencoder,
        )
        from mmdisco.adapters.miniature.model import (
            MiniatureAudioCodec,
            MiniatureModel,
            MiniatureVideoCodec,
            audio_schedule,
            video_schedule,
        )
        from mmdisco.core.denoiser import IndependentModels

        text = self.text()
        sound = self._autoencoder("audio_autoencoder", build_audio_autoencoder)
        picture = self._autoencoder("video_autoencoder", build_video_autoencoder)
        return IndependentModels(
            audio=MiniatureModel(
                self._denoiser("audio_denoiser", audio_schedule()), MiniatureAudioCodec(sound), text
            ),
            video=MiniatureModel(
                self._denoiser("video_denoiser", video_schedule()),
                MiniatureVideoCodec(picture),
                text,
            ),
        )

    def discriminator(self, name: str = "discriminator") -> "AudioVideoDiscriminator":
        """Load the discriminator of a name once; the additive control has a name of its own."""
        if name not in self._discriminators:
            self._discriminators[name] = self._discriminator(name)
        return self._discriminators[name]

    @cached_property
    def _discriminators(self) -> "dict[str, AudioVideoDiscriminator]":
        return {}

    def _discriminator(self, name: str) -> "AudioVideoDiscriminator":
        from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator

        with understood(self.path / "config.json"):
            config = AudioVideoConfig.from_record(self.config[name])
        return self.load(name, lambda: AudioVideoDiscriminator(config))

    def sampling(self) -> SamplingDefaults:
        """Return the settings of ``config.json``."""
        try:
            return _sampling(self.config["sampling"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{self.path / 'config.json'} says nothing of how to sample: choose another folder"
            ) from error

    def load(self, name: str, make: Callable[[], Network]) -> Network:
        """Load the weights of ``name`` into ``make()``: frozen, in single precision."""
        from mmdisco.io.bounds import expect_fitting_file

        path = self.path / f"{name}.safetensors"
        if not path.is_file():
            raise UserError(f"{path} is not there: give --weights and a folder that has it")
        if sha256(path) != self.weight_hashes().get(name):
            raise UserError(
                f"{path} is damaged: its checksum is not the one in config.json; install "
                "mmdisco again"
            )
        expect_fitting_file(make, path)
        weights = {key: value.float() for key, value in read_tensors(path).items()}
        network = make()
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)  # noqa: FBT003

    @cached_property
    def config(self) -> dict[str, Any]:
        """Contents of ``config.json``."""
        return read_object(self.path / "config.json")

    def _autoencoder(self, name: str, build: "Callable[..., AutoencoderKL]") -> "NormalizedVAE":
        """Load an autoencoder, of its usual widths unless ``config.json`` lists others."""
        from mmdisco.adapters.miniature.autoencoder import NormalizedVAE

        with understood(self.path / "config.json"):
            # of a longer list no file holds the network
            listed = [tuple(map(int, self.config[name][:8]))] if name in self.config else []
            return self.load(name, lambda: NormalizedVAE(build(*listed)))

    def _denoiser(self, name: str, schedule: "NoiseSchedule") -> "VelocityDenoiser":
        from mmdisco.adapters.miniature.denoiser import (
            ConvTransformer,
            DenoiserConfig,
            VelocityDenoiser,
        )

        with understood(self.path / "config.json"):
            config = DenoiserConfig.from_record(self.config[name])
        made = self.load(name, lambda: ConvTransformer(config))
        return VelocityDenoiser(made, schedule)

    @property
    def _words(self) -> list[str]:
        with understood(self.path / "config.json"):
            return [str(word) for word in self.config["words"]]


def _sampling(record: Mapping[str, Any]) -> SamplingDefaults:
    return SamplingDefaults(
        steps=record["steps"],
        scheduler=record["scheduler"],
        cfg_scale=AV(*map(float, record["cfg_scale"])),
        joint_scale=AV(*map(float, record["joint_scale"])),
        video_to_audio=float(record["video_to_audio"]),
        audio_to_video=float(record["audio_to_video"]),
        joint_min_logsnr=record["joint_min_logsnr"],
        joint_max_logsnr=record["joint_max_logsnr"],
        few_steps=record["few_steps"],
        few_steps_scheduler=record["few_steps_scheduler"],
    )


def pack(
    networks: Mapping[str, Path], config: Mapping[str, Any], folder: Path, metadata: dict[str, str]
) -> None:
    """Write a folder: every network in half precision, then ``config.json`` with the checksums.

    Args:
        networks: File of weights by name of the network.
        config: Contents of ``config.json`` except the checksums.
        folder: Folder to write.
        metadata: Metadata of every safetensors file.
    """
    import torch

    sums: dict[str, str] = {}
    for name, source in networks.items():
        target = folder / f"{name}.safetensors"
        halves = {key: value.to(torch.float16) for key, value in read_tensors(source).items()}
        write_tensors(target, halves, metadata)
        sums[name] = sha256(target)
    write_json(folder / "config.json", {**config, "sha256": sums})


_NETWORKS: Final = (
    "text_encoder",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
    "discriminator",
)
_CONFIGURED: Final = {
    *("words", "audio_denoiser", "video_denoiser", "discriminator", "sampling", "sha256")
}


@dataclass(frozen=True)
class MiniaturePreset(Preset):
    """Miniature models of bouncing balls, drums, lamps and bells."""

    @property
    @override
    def name(self) -> str:
        return "embedded"

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Empty: all weights come with the package."""
        return (CheckpointRef("all", "the package", (), 0.1, "Apache-2.0", "", on_hub=False),)

    @property
    def form(self) -> ClipSpec:
        """Clips of 1.6 s of 64×64 pixels."""
        return FORM

    @property
    @override
    def memory(self) -> float:
        return 1.0

    @property
    @override
    def remark(self) -> str:
        return "knows bouncing balls, drums, lamps and bells"

    def sampling(self) -> SamplingDefaults:
        """Return the settings stored with the packaged weights.

        Raises:
            UserError: They are not in the package.
        """
        return folder_of(None).sampling()

    def as_released(self) -> Preset:
        """Refuse: this pair has no release."""
        raise UserError("embedded has no release to be compared with: leave --as-released out")

    def present(self, options: SystemConfig) -> tuple[bool, ...]:
        """Check the files of the packaged pair; the folder of weights has no effect."""
        return (all((PACKAGED / f"{name}.safetensors").is_file() for name in _NETWORKS),)

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system of the folder.

        Raises:
            UserError: It is not there, or an option is not for this pair.
        """
        fixed = options.updated({"seconds": None}).build_options()
        if fixed != SystemConfig().build_options():
            raise UserError(
                "embedded makes clips of 64x64 at 10 frames a second, on the CPU: leave size, "
                "rate, type, device, offloading, slicing and tiling out"
            )
        folder = folder_of(options.weights)
        if options.frames is None and options.seconds is None:
            return folder
        frames = options.frames or (options.seconds or FORM.seconds) * FORM.fps
        if frames < FORM.frames or frames % 1:
            raise UserError(
                f"embedded makes clips of {FORM.frames} frames, {float(FORM.seconds):g} s, and "
                "longer ones by whole frames of 0.1 s: ask for such a length"
            )
        return replace(folder, seconds=frames / FORM.fps)


EMBEDDED: Final = MiniaturePreset()


def folder_of(path: Path | None) -> MiniatureSystem:
    """Return the system of the weights at ``path``, or of the packaged ones.

    Raises:
        UserError: They are missing, or of no such pair.
    """
    folder = MiniatureSystem() if path is None else MiniatureSystem(path)
    config = cast(object, folder.config)
    if not isinstance(config, dict) or not config.keys() >= _CONFIGURED:
        raise UserError(f"{folder.path} holds no weights of such a pair: choose another folder")
    return folder
