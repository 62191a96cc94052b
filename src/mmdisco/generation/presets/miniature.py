"""Miniature pairs: the embedded one, and any folder of safetensors files and ``config.json``.

The files are in half precision; the networks run in single. ``config.json`` holds rates and shapes,
the vocabulary, the default settings and the SHA-256 of every file, so that a damaged one is named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from typing_extensions import override

from mmdisco.adapters.miniature import GAME_WEIGHTS, PACKAGED, side_factor
from mmdisco.adapters.miniature.vocabulary import Vocabulary
from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET, SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef, Preset
from mmdisco.generation.system import (
    JointSystem,
    Requirements,
    SamplingDefaults,
    expect_own_discriminator,
)
from mmdisco.io.files import read_object, read_tensors, sha256, understood
from mmdisco.io.settings import number
from mmdisco.media.clip import ClipSpec

# torch takes seconds to import, which the check of a prompt need not wait for
if TYPE_CHECKING:
    from torch import nn

    from mmdisco.adapters.miniature.autoencoder import NormalizedVAE
    from mmdisco.adapters.miniature.denoiser import DenoiserConfig, VelocityDenoiser
    from mmdisco.adapters.miniature.model import TextEncoder
    from mmdisco.core.denoiser import IndependentModels
    from mmdisco.core.noise import NoiseSchedule
    from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
    from mmdisco.generation.pipeline import GuidanceOrder

    Network = TypeVar("Network", bound=nn.Module)
else:
    Network = TypeVar("Network")


MOST_FPS: Final = 1000
ONE_SCENE_BELOW: Final = -2.0
"""``WindowedDenoiser.one_scene_below``: places and background are decided there, not movements."""


@dataclass(frozen=True)
class MiniatureSystem(JointSystem):
    """System of a folder of the pair's weights.

    Attributes:
        path: The folder.
        seconds: Length of the clips, longer by whole frames than what the pair knows; None is that.

    Raises:
        UserError: A file is missing, damaged or of another shape, at the first use of it.
    """

    path: Path = PACKAGED
    seconds: Fraction | None = None

    def text(self) -> "TextEncoder":
        """Text encoder with the pair's vocabulary."""
        from mmdisco.adapters.miniature.model import TextEncoder

        return self.load("text_encoder", lambda: TextEncoder(self.vocabulary.words))

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
        """Format of ``config.json``, of the length that is asked for."""
        return replace(self._known, seconds=self.seconds or self.window)

    @property
    @override
    def window(self) -> Fraction:
        return self._known.seconds

    @cached_property
    def _known(self) -> ClipSpec:
        with understood(self.path / "config.json"):
            _, frames, height, width = (int(one) for one in self.config["video_denoiser"]["shape"])
            factor = side_factor(self._widths("video_autoencoder"))
            fps, rate = number(self.config["fps"]), int(self.config["mel"]["sample_rate"])
            if not 0 < fps <= MOST_FPS:
                raise ValueError(f"{fps} frames per second")
            return ClipSpec(frames / fps, fps, (height * factor, width * factor), rate)

    @property
    def method(self) -> "GuidanceOrder":
        """Joint guidance around classifier-free guidance; in each window of a longer clip."""
        from mmdisco.generation.pipeline import JointOutsideCFG

        if self.form.seconds == self.window:
            return JointOutsideCFG()
        from mmdisco.generation.windows import InWindows, overlapping_windows

        lengths = self.form.seconds, self.window
        both = [self.model().latent_shapes(float(seconds)) for seconds in lengths]
        steps = [shapes.map(lambda shape: shape[1]) for shapes in both]
        return InWindows(JointOutsideCFG(), overlapping_windows(*steps), ONE_SCENE_BELOW)

    def expect(self, demand: Requirements) -> list[str]:
        """Check the prompt; warn of unknown words, with their nearest known, and of replaced ones.

        Raises:
            UserError: No word is known, or guidance is asked for without a discriminator.
        """
        if "discriminator" not in self.config:
            expect_own_discriminator(str(self.path), demand)
        vocabulary, notices = self.vocabulary, list[str]()
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

    @override
    def distilled_folder(self) -> Path:
        return self.path

    @override
    def known_words(self, prompt: str) -> tuple[int, int] | None:
        return self.vocabulary.counted(prompt)

    @property
    def vocabulary(self) -> Vocabulary:
        """Words that the pair knows."""
        with understood(self.path / "config.json"):
            return Vocabulary(tuple(str(word) for word in self.config["words"]))

    def weight_hashes(self) -> Mapping[str, str]:
        """Return the SHA-256 of every file, from ``config.json``."""
        with understood(self.path / "config.json"):
            return dict(self.config["sha256"])

    def model(self, seeds: Sequence[int] = ()) -> "IndependentModels":
        """Load both base models once; they draw no random numbers, so ``seeds`` has no effect."""
        return self._bases

    @cached_property
    def _bases(self) -> "IndependentModels":
        from torch import Size

        from mmdisco.adapters.miniature.model import (
            MiniatureAudioCodec,
            MiniatureModel,
            MiniatureVideoCodec,
            audio_schedule,
            mel_scale,
            video_schedule,
        )
        from mmdisco.core.denoiser import IndependentModels

        text, known = self.text(), self._known
        sound, picture = self._denoiser_config("audio"), self._denoiser_config("video")
        with understood(self.path / "config.json"):
            scale = mel_scale(self.config["mel"])
            if scale.bins != sound.shape[-1] * side_factor(self._widths("audio_autoencoder")):
                raise ValueError(f"{scale.bins} mel bins")
        heard = (self._autoencoder("audio", 1, sound.shape[0]), known, Size(sound.shape))
        seen = (self._autoencoder("video", 3, picture.shape[0]), known, Size(picture.shape))
        return IndependentModels(
            audio=MiniatureModel(
                self._denoiser("audio", sound, audio_schedule()),
                MiniatureAudioCodec(*heard, scale),
                text,
            ),
            video=MiniatureModel(
                self._denoiser("video", picture, video_schedule()),
                MiniatureVideoCodec(*seen),
                text,
            ),
        )

    def discriminator(self, name: str = "discriminator") -> "AudioVideoDiscriminator":
        """Load the discriminator of a name once; the additive control has a name of its own.

        Raises:
            UserError: There is none, or its file is missing or damaged.
        """
        if name not in self.config:
            raise UserError(f"{self.path} has no discriminator of its own: train one")
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
            return SamplingDefaults.from_record(self.config["sampling"])
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

    def _autoencoder(self, side: str, channels: int, latent_channels: int) -> "NormalizedVAE":
        from mmdisco.adapters.miniature.autoencoder import NormalizedVAE, build_autoencoder

        name = f"{side}_autoencoder"
        with understood(self.path / "config.json"):
            widths = self._widths(name)
            return self.load(
                name, lambda: NormalizedVAE(build_autoencoder(channels, widths, latent_channels))
            )

    def _widths(self, name: str) -> tuple[int, ...]:
        # of a longer list no file holds the network
        return tuple(map(int, self.config[name][:8]))

    def _denoiser_config(self, side: str) -> "DenoiserConfig":
        from mmdisco.adapters.miniature.denoiser import DenoiserConfig

        with understood(self.path / "config.json"):
            return DenoiserConfig.from_record(self.config[f"{side}_denoiser"])

    def _denoiser(
        self, side: str, config: "DenoiserConfig", schedule: "NoiseSchedule"
    ) -> "VelocityDenoiser":
        from mmdisco.adapters.miniature.denoiser import ConvTransformer, VelocityDenoiser

        made = self.load(f"{side}_denoiser", lambda: ConvTransformer(config))
        return VelocityDenoiser(made, schedule)


_NETWORKS: Final = (
    "text_encoder",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
)
_CONFIGURED: Final = {*_NETWORKS[1:], "fps", "mel", "words", "sampling", "sha256"}


@dataclass(frozen=True)
class MiniaturePreset(Preset):
    """Miniature models in a folder: a pair that comes with the package, or the user's own.

    Attributes:
        path: The folder.
        packaged: Name of a pair that comes with the package.
        knows: What such a pair knows, for listings.
    """

    path: Path
    packaged: str = ""
    knows: str = ""

    @property
    @override
    def name(self) -> str:
        return self.packaged or str(self.path)

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """One without files: all weights come with the package, or lie in the folder."""
        return (CheckpointRef("all", "the package", (), 0.1, "Apache-2.0", "", on_hub=False),)

    @property
    @override
    def form(self) -> ClipSpec:
        return folder_of(self.path).form

    @property
    @override
    def memory(self) -> float:
        return 1.0

    @property
    @override
    def remark(self) -> str:
        return self.knows

    def sampling(self) -> SamplingDefaults:
        """Return the settings stored with the weights.

        Raises:
            UserError: They are not there.
        """
        return folder_of(self.path).sampling()

    def as_released(self) -> Preset:
        """Refuse: this pair has no release."""
        raise UserError(f"{self.name} has no release to be compared with: leave --as-released out")

    def present(self, options: SystemConfig) -> tuple[bool, ...]:
        """Check the files of the folder; that of other weights has no effect."""
        wanted = (*_NETWORKS, "discriminator") if self.packaged else _NETWORKS
        return (all((self.path / f"{name}.safetensors").is_file() for name in wanted),)

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system of the folder, or of the folder of weights.

        Raises:
            UserError: It is not there, or an option is not for this pair.
        """
        folder = folder_of(options.weights or self.path)
        form = folder.form
        fixed = options.updated({"seconds": None}).build_options()
        if fixed != SystemConfig().build_options():
            height, width = form.size
            raise UserError(
                f"{self.name} makes clips of {height}x{width} at {float(form.fps):.6g} frames a "
                "second, on the CPU: leave size, rate, type, device, offloading, slicing and "
                "tiling out"
            )
        if options.frames is None and options.seconds is None:
            return folder
        frames = options.frames or (options.seconds or form.seconds) * form.fps
        if frames < form.frames or frames % 1:
            raise UserError(
                f"{self.name} makes clips of {form.frames} frames, {float(form.seconds):.6g} s, "
                f"and longer ones by whole frames of {float(1 / form.fps):.6g} s: ask for such a "
                "length"
            )
        return replace(folder, seconds=frames / form.fps)


EMBEDDED: Final = MiniaturePreset(PACKAGED, PRESET, "knows bouncing balls, drums, lamps and bells")
GAME: Final = MiniaturePreset(
    GAME_WEIGHTS, "game", "knows a pistol, a rocket launcher and medikits in five places of a game"
)


def folder_of(path: Path) -> MiniatureSystem:
    """Return the system of the weights at ``path``.

    Raises:
        UserError: They are missing, or of no such pair.
    """
    folder = MiniatureSystem(path)
    config = cast(object, folder.config)
    if not isinstance(config, dict) or not config.keys() >= _CONFIGURED:
        raise UserError(f"{folder.path} holds no weights of such a pair: choose another folder")
    return folder
