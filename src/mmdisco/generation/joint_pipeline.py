"""Any two pipelines of diffusers as one that generates video with sound.

Both run their own ``__call__``, joined at the ``step`` of their schedulers: what was set on them
(LoRA, offload, quantization, tiling, image conditioning) stays as it is, and at joint scale 0
either makes to the bit what it makes alone.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

from diffusers import DiffusionPipeline
from diffusers.utils.outputs import BaseOutput
from torch import Generator, Tensor

from mmdisco.adapters.stock.model import StockModel, stock_audio, stock_video
from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.rng import seeded_generator
from mmdisco.discriminators.hub import PretrainedDiscriminator, find_folder, upload_folder
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.correction import Scale, correction
from mmdisco.generation.cost import JointCost, count_cost
from mmdisco.generation.meeting import Meeting, SideState
from mmdisco.generation.pipeline_side import PipelineSide, StepCallback
from mmdisco.media.clip import Audio, Video


@dataclass
class JointPipelineOutput(BaseOutput):
    """Clips, in the form that either pipeline returns.

    Attributes:
        frames: The video pipeline's frames; ``None`` where the video was given.
        audio: The audio pipeline's sound; ``None`` where the sound was given.
        frame_rate: Frames per second.
        sampling_rate: Samples per second.
    """

    frames: Any
    audio: Any
    frame_rate: Fraction
    sampling_rate: int


@dataclass(frozen=True)
class JointPipeline:
    """A video pipeline and an audio pipeline, guided by a discriminator of their pair.

    Attributes:
        video: A loaded video pipeline.
        audio: A loaded audio pipeline.
        discriminator: Log ratio of real pairs against clips that the two make on their own;
            without one neither is guided.
        reuse: How often the discriminator's gradient is computed.
        families: A ``VideoFamily`` or ``AudioFamily`` for pipelines that are not known.
        parallel: Whether both may compute at once, as on two devices.
    """

    video: Any
    audio: Any
    discriminator: Discriminator | None = None
    reuse: ReuseEvery = field(default_factory=ReuseEvery)
    families: AV[Any] = field(default_factory=lambda: AV(None, None))
    parallel: bool = False

    def __call__(  # noqa: PLR0913 - the arguments of diffusers' pipelines
        self,
        prompt: str | list[str] | None = None,
        *,
        audio_prompt: str | list[str] | None = None,
        negative_prompt: str | list[str] | None = None,
        audio_negative_prompt: str | list[str] | None = None,
        num_inference_steps: int | None = None,
        generator: Generator | list[Generator] | None = None,
        joint_scale: Scale | AV[Scale] = 1.0,
        output_type: str = "np",
        callback_on_step_end: StepCallback | None = None,
        given_video: Sequence[Video] | None = None,
        given_audio: Sequence[Audio] | None = None,
        video_kwargs: Mapping[str, Any] | None = None,
        audio_kwargs: Mapping[str, Any] | None = None,
    ) -> JointPipelineOutput:
        """Generate videos with sound, sound for given videos, or videos for given sound.

        Args:
            prompt: Prompt of both pipelines.
            audio_prompt: Prompt of the audio pipeline, if it is another.
            negative_prompt: Negative prompt of both pipelines.
            audio_negative_prompt: Negative prompt of the audio pipeline, if it is another.
            num_inference_steps: Steps of both; the pipelines' own numbers unless given. The two
                may differ, through ``video_kwargs`` and ``audio_kwargs``.
            generator: Generator of the video, or one a clip; those of the sound are seeded from it.
            joint_scale: Scale s of the discriminator's gradient, also by noise level, also one
                a side; 0 is the unguided baseline.
            output_type: "np", "pt", "pil" (frames alone) or "latent".
            callback_on_step_end: Called after each step of either pipeline.
            given_video: Videos to make sound for, one a prompt, at the pipeline's rate and size.
            given_audio: Sounds to make videos for, one a prompt, at the pipeline's rate.
            video_kwargs: Further arguments of the video pipeline's call; they come first.
            audio_kwargs: Further arguments of the audio pipeline's call. Unless they say
                otherwise, the sound lasts as long as the video.

        Raises:
            UserError: The pipelines, the discriminator and the arguments do not fit together.
        """
        if given_video is not None and given_audio is not None:
            raise UserError("video and sound are both given: leave one to be generated")
        common = {"prompt": prompt, "negative_prompt": negative_prompt, "generator": generator}
        common |= {"num_inference_steps": num_inference_steps, "output_type": output_type}
        other = {"prompt": audio_prompt, "negative_prompt": audio_negative_prompt}
        other |= {"generator": _of_sound(generator)}
        other |= {"output_type": "np" if output_type == "pil" else output_type}
        sound = common | {name: value for name, value in other.items() if value is not None}
        video = stock_video(
            self.video, _call(self.video, common, video_kwargs), self.families.video
        )
        audio = stock_audio(self.audio, _call(self.audio, sound, audio_kwargs), self.families.audio)
        given: AV[Any] = AV(given_audio, given_video)
        models = _of_one_length(AV(audio, video), given)
        latents = each(_encode_given, models, given)
        sides = each(
            lambda name, model, own: PipelineSide(
                name,
                model,
                model.sample_shape if own is None else own.shape[1:],
                callback_on_step_end,
            ),
            AV("audio", "video"),
            models,
            latents,
        )
        correct = correction(
            self.discriminator,
            joint_scale,
            lambda: sides.map(PipelineSide.captions),
            sides.map(lambda side: side.shape),
            self.reuse.begin(),
            self.name,
        )
        meeting = Meeting(
            correct,
            latents.map(lambda x: None if x is None else SideState(x, NoiseLevel.clean(1))),
            parallel=self.parallel,
        )
        outputs = meeting.run(sides.map(lambda side: lambda: side.run(meeting)))
        frames, waveform = (
            None if output is None else output[0] for output in (outputs.video, outputs.audio)
        )
        return JointPipelineOutput(frames, waveform, video.rate, int(audio.rate))

    def cost(
        self, prompt: str | list[str] | None = None, *, capacity: int | None = None, **call: Any
    ) -> JointCost:
        """Return what a call with the same arguments costs, without computing any network.

        Args:
            prompt: As in a call.
            capacity: Bytes of the device; its own unless given.
            **call: Further arguments of a call.

        Raises:
            UserError: As a call does, or a network's course depends on its numbers.
        """

        def run(pipes: Mapping[str, Any], discriminator: Discriminator | None) -> None:
            replace(self, **pipes, discriminator=discriminator)(prompt, **call)

        both = {"video": self.video, "audio": self.audio}
        return count_cost(both, self.discriminator, run, capacity)

    @property
    def name(self) -> str:
        """Names of both pipelines, for messages."""
        return f"{type(self.video).__name__} with {type(self.audio).__name__}"

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``video`` and ``audio`` as diffusers does, and ``discriminator``, into a folder.

        Raises:
            UserError: The discriminator is none that can be written.
        """
        network = self.discriminator
        if not isinstance(network, AudioVideoDiscriminator | None):
            raise UserError(
                f"{type(network).__name__} cannot be written: only an AudioVideoDiscriminator can"
            )
        for name, pipe in (("video", self.video), ("audio", self.audio)):
            pipe.save_pretrained(Path(folder) / name)
        if network is not None:
            PretrainedDiscriminator(network, self.name).save(Path(folder) / "discriminator")

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        video_kwargs: Mapping[str, Any] | None = None,
        audio_kwargs: Mapping[str, Any] | None = None,
    ) -> "JointPipeline":
        """Load what ``save_pretrained`` wrote, from a folder or the Hugging Face hub.

        Args:
            source: A folder, or an id of the hub.
            revision: Revision of a repository of the hub.
            video_kwargs: Arguments of diffusers' ``from_pretrained``, such as ``torch_dtype``.
            audio_kwargs: The same for the audio pipeline.

        Raises:
            UserError: There is no joint pipeline.
        """
        folder = find_folder(source, revision)
        if not all((folder / name / "model_index.json").is_file() for name in ("video", "audio")):
            raise UserError(
                f"{source} holds no joint pipeline: give a folder that save_pretrained wrote"
            )
        kind: Any = DiffusionPipeline
        pipes = AV(audio_kwargs or {}, video_kwargs or {})
        video = kind.from_pretrained(folder / "video", **pipes.video)
        audio = kind.from_pretrained(folder / "audio", **pipes.audio)
        trained = folder / "discriminator"
        network = PretrainedDiscriminator.load(trained).network if trained.is_dir() else None
        return cls(video, audio, network)

    def push_to_hub(self, repository: str, *, private: bool = False) -> str:
        """Upload what ``save_pretrained`` writes; return the address of the commit.

        Raises:
            UserError: The hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload_folder(Path(folder), repository, private=private)


def _of_sound(generator: Generator | list[Generator] | None) -> Any:
    """Generators of the sound, which draw other numbers than those of the video."""
    if isinstance(generator, list):
        return [_of_sound(one) for one in generator]
    if generator is None:
        return None
    return seeded_generator(crc32(generator.get_state().numpy().tobytes()), 0)


def _call(pipe: Any, common: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments of one pipeline's call: those of both, then its own.

    Raises:
        UserError: The pipeline takes no such argument.
    """
    given = {name: value for name, value in common.items() if value is not None} | dict(own or {})
    if any(name.startswith("prompt_embeds") for name in given):
        given.pop("prompt", None)
    known = inspect.signature(type(pipe).__call__).parameters
    unknown = [name for name in given if name not in known]
    if unknown:
        raise UserError(f"{type(pipe).__name__} takes no {', '.join(unknown)}: leave it out")
    return given


def _of_one_length(models: AV[StockModel[Any]], given: AV[Any]) -> AV[StockModel[Any]]:
    """Return the models with calls as long as a given side, or as the video.

    Raises:
        UserError: The lengths asked for differ.
    """
    clips = given.video or given.audio
    seconds = clips[0].seconds if clips else models.video.seconds

    def fitted(model: StockModel[Any], own: Any) -> StockModel[Any]:
        argument = model.lasting(seconds)
        if own is not None or argument.keys() & model.call.keys():
            return model
        return replace(model, call={**model.call, **argument})

    models = each(fitted, models, given)
    lengths = each(
        lambda model, own: model.seconds if own is None else own[0].seconds, models, given
    )
    step = max(1 / models.audio.steps_per_second, 1 / models.video.steps_per_second)
    if abs(lengths.audio - lengths.video) > step:
        wanted = models.audio.lasting(lengths.video) if given.audio is None else {}
        hint = ", ".join(f"{name}={value:g}" for name, value in wanted.items())
        raise UserError(
            f"a video of {float(lengths.video):g} s and a sound of {float(lengths.audio):g} s: "
            f"give both one length{hint and ', such as '}{hint}"
        )
    return models


def _encode_given(model: StockModel[Any], given: Any) -> Tensor | None:
    return None if given is None else model.encode(given)
