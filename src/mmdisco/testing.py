"""Promises of models, pairs, guiders and discriminators, as tests for anyone's own.

Each class is a mixin for pytest: a class of tests derives from it and gives what is to be tested
as fixtures of the names that the methods take.

    class TestMyModel(BaseModelContract):
        @pytest.fixture
        def model(self):
            return MyModel()

Nothing here imports pytest.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ClassifierFreeGuidance
from torch import Tensor

from mmdisco.adapters.stock.model import StockModel
from mmdisco.adapters.stock.probe import replaced, step_arguments
from mmdisco.core.av import AV
from mmdisco.core.denoiser import BaseModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.media.clip import Audio, Video

PROMPTS = ("a dog barks", "", "rain on a roof of tin")


class BaseModelContract:
    """Any ``BaseModel``. Fixtures: ``model`` and ``seconds``, a length that it makes."""

    def test_noise_has_the_form_of_the_latent(self, model: BaseModel[Any], seconds: float) -> None:
        """ε̂ has the shape of the latent, is float32 and finite, and carries no gradient."""
        x_t, level = _noisy(model, seconds, 2)
        cond = model.encode_prompts(PROMPTS[:2])
        eps = model.predict_noise(x_t.requires_grad_(), level, cond)
        assert eps.shape == x_t.shape
        assert eps.dtype == torch.float32
        assert eps.isfinite().all()
        assert not eps.requires_grad

    def test_a_prediction_depends_on_no_batch_mate(
        self, model: BaseModel[Any], seconds: float
    ) -> None:
        """Samples of a batch are predicted as each by itself, at levels of their own or at one."""
        x_t, levels = _noisy(model, seconds, len(PROMPTS))
        for level in (levels, levels.at(1).expand(len(PROMPTS))):
            together = model.predict_noise(x_t, level, model.encode_prompts(PROMPTS))
            for i, prompt in enumerate(PROMPTS):
                cond = model.encode_prompts([prompt])
                alone = model.predict_noise(x_t[i : i + 1], level.at(i), cond)
                torch.testing.assert_close(alone[0], together[i], rtol=0, atol=_rounding(alone))

    def test_prompts_matter(self, model: BaseModel[Any], seconds: float) -> None:
        """Another prompt gives another ε̂."""
        x_t, level = _noisy(model, seconds, 1)
        one, other = (
            model.predict_noise(x_t, level, model.encode_prompts([prompt]))
            for prompt in ("a dog barks", "rain on a roof of tin")
        )
        assert not torch.equal(one, other)

    def test_encoding_and_decoding_agree_in_length_and_rate(
        self, model: BaseModel[Any], seconds: float
    ) -> None:
        """A decoded clip has the length asked for, and encodes to as long a latent."""
        (clip,) = model.decode(_noisy(model, seconds, 1)[0])
        assert isinstance(clip, Audio | Video)
        assert abs(float(clip.seconds) - seconds) < 1e-6
        encoded = model.encode([clip])
        assert encoded.shape == (1, *model.latent_shape(seconds))
        assert encoded.dtype == torch.float32
        (again,) = model.decode(encoded)
        assert type(again) is type(clip)
        assert again.seconds == clip.seconds


class StockModelContract(BaseModelContract):
    """Any pipeline of diffusers as a ``StockModel``, beside ``BaseModelContract``.

    Its ``call`` holds no prompt and asks for three steps or more.
    """

    def test_the_probe_equals_the_run(self, model: StockModel[Any]) -> None:
        """ε̂ at a latent of a run is to the bit what the run computed there."""
        visits = record_steps(model, PROMPTS[0])
        cond = model.encode_prompts(PROMPTS[:1])
        for visit in (visits[0], visits[len(visits) // 2], visits[-1]):
            x_t, output = (
                model.family.layout.to_core(model.pipe, one, model.sample_shape)
                for one in (visit.sample, visit.output)
            )
            eps = model.levels.prediction.to_eps(output, x_t, visit.level)
            assert torch.equal(model.predict_noise(x_t, visit.level, cond), eps)


class JointPipelineContract:
    """Any pair of pipelines in a ``JointPipeline``.

    Fixtures: ``joint``, and ``models``: its pipelines as stock models, whose calls hold no prompt.
    """

    def test_at_scale_0_either_is_what_it_is_alone(
        self, joint: JointPipeline, models: AV[StockModel[Any]]
    ) -> None:
        """Without guidance the latents are to the bit those of the pipelines by themselves."""
        made, alone = (
            _joined(joint, models, 0.0),
            models.map(lambda model: run_alone(model, "a dog")),
        )
        assert torch.equal(made.audio, alone.audio)
        assert torch.equal(made.video, alone.video)

    def test_a_run_repeats_to_the_bit_and_is_guided(
        self, joint: JointPipeline, models: AV[StockModel[Any]]
    ) -> None:
        """With guidance the latents repeat, and are others than without."""
        made, again, unguided = (_joined(joint, models, scale) for scale in (1.0, 1.0, 0.0))
        for side in ("audio", "video"):
            assert torch.equal(getattr(made, side), getattr(again, side))
            assert not torch.equal(getattr(made, side), getattr(unguided, side))


class GuiderContract:
    """Any guider of diffusers that adds joint guidance to ``ClassifierFreeGuidance``.

    Fixtures: ``build``, which makes a guider of its ``guidance_scale`` and ``joint_scale``, and
    ``sample``, which runs a pipeline with a guider and returns its latents.
    """

    def test_at_scale_0_it_is_classifier_free_guidance(
        self, build: Callable[[float, float], Any], sample: Callable[[Any], Tensor]
    ) -> None:
        """Without joint guidance the latents are to the bit those of diffusers' own guider."""
        plain = sample(ClassifierFreeGuidance(guidance_scale=5.0))
        assert torch.equal(sample(build(5.0, 0.0)), plain)
        assert not torch.equal(sample(build(5.0, 1.0)), plain)

    def test_its_numbers_are_saved_and_loaded(
        self, build: Callable[[float, float], Any], tmp_path: Path
    ) -> None:
        """Both scales are in the configuration that a pipeline keeps of its guider."""
        guider = build(3.0, 0.25)
        guider.save_pretrained(tmp_path)
        loaded = type(guider).from_pretrained(tmp_path)
        assert (loaded.guidance_scale, loaded.joint_scale) == (3.0, 0.25)


class DiscriminatorContract:
    """Any ``Discriminator`` in evaluation mode.

    Fixtures: ``discriminator``, and ``pair``: a batch of at least two, as (z_t, level, text).
    """

    def test_a_logit_depends_on_no_batch_mate(
        self, discriminator: Discriminator, pair: tuple[AV[Tensor], AV[NoiseLevel], AV[Tensor]]
    ) -> None:
        """Pairs of a batch have the logits of each by itself."""
        z_t, level, text = pair
        together = discriminator(z_t, level, text)
        assert together.shape == (len(z_t.audio),)
        for i in range(len(together)):
            alone = discriminator(
                z_t.map(lambda one, i=i: one[i : i + 1]),
                level.map(lambda one, i=i: one.at(i)),
                text.map(lambda one, i=i: one[i : i + 1]),
            )
            torch.testing.assert_close(alone[0], together[i], rtol=0, atol=_rounding(together))

    def test_its_gradient_is_that_of_its_logit(
        self, discriminator: Discriminator, pair: tuple[AV[Tensor], AV[NoiseLevel], AV[Tensor]]
    ) -> None:
        """∇h along a random direction is the slope of h."""
        exact = copy.deepcopy(discriminator).double()
        z_t, level, text = (values.map(_double) for values in pair)
        found = log_ratio_gradient(lambda z: exact(z, level, text), z_t).gradient
        for side, gradient in (("audio", found.audio), ("video", found.video)):
            way = torch.randn(gradient.shape, generator=_generator(), dtype=torch.float64)
            way /= way.norm()
            ends = (exact(_moved(z_t, side, sign * 1e-4 * way), level, text) for sign in (1, -1))
            higher, lower = (end.sum() for end in ends)
            slope = (higher - lower) / 2e-4
            torch.testing.assert_close(
                (gradient * way).sum(), slope, rtol=1e-3, atol=1e-6 * float(gradient.norm()) + 1e-12
            )


@dataclass(frozen=True)
class Visit:
    """One step of a pipeline's own run, in the pipeline's layout.

    Attributes:
        level: Noise level of the sample.
        output: The first argument of ``step``.
        sample: The latent before it.
        stepped: The latent after it.
        scheduler: The scheduler before it.
        arguments: All arguments of ``step``; a generator as it was before it.
    """

    level: NoiseLevel
    output: Tensor
    sample: Tensor
    stepped: Tensor
    scheduler: Any
    arguments: inspect.BoundArguments


def record_steps(model: StockModel[Any], prompt: str, seed: int = 0) -> list[Visit]:
    """Run a pipeline alone and record its steps."""
    scheduler, visits = model.pipe.scheduler, list[Visit]()
    plain = scheduler.step

    def step(*given: Any, **named: Any) -> Any:
        bound = inspect.signature(plain).bind(*given, **named)
        own = step_arguments(bound)
        level = model.levels.level(scheduler, own.t)
        state = copy.deepcopy(scheduler)
        del state.step  # the one that records
        if isinstance(bound.arguments.get("generator"), torch.Generator):
            bound.arguments["generator"] = bound.arguments["generator"].clone_state()
        output, sample = own.output.clone(), own.sample.clone()
        stepped = plain(*given, **named)
        visits.append(Visit(level, output, sample, stepped[0].clone(), state, bound))
        return stepped

    with replaced(scheduler, "step", functools.wraps(plain)(step)):
        run_alone(model, prompt, seed)
    return visits


def run_alone(model: StockModel[Any], prompt: str, seed: int = 0) -> Tensor:
    """Return the latents that a pipeline makes on its own."""
    call: Mapping[str, Any] = {**model.call, "output_type": "latent"}
    return model.pipe(prompt=prompt, generator=_generator(seed), **call)[0]


def _joined(joint: JointPipeline, models: AV[StockModel[Any]], scale: float) -> AV[Tensor]:
    calls = models.map(lambda model: {**model.call, "generator": _generator()})
    made = joint(
        "a dog",
        joint_scale=scale,
        output_type="latent",
        audio_kwargs=calls.audio,
        video_kwargs=calls.video,
    )
    return AV(made.audio, made.frames)


def _noisy(model: BaseModel[Any], seconds: float, count: int) -> tuple[Tensor, NoiseLevel]:
    times = model.schedule.times
    places = torch.linspace(0.9, 0.3, count, dtype=torch.float64) * (len(times) - 1)
    level = model.schedule.level(times[places.long()])
    shape = (count, *model.latent_shape(seconds))
    x = torch.randn(shape, generator=_generator())
    return level.add_noise(x, torch.randn(shape, generator=_generator(1))), level


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rounding(values: Tensor) -> float:
    return 1e-5 * float(values.detach().abs().max())


def _double(values: Any) -> Any:
    return values if isinstance(values, NoiseLevel) else values.double()


def _moved(z: AV[Tensor], side: str, by: Tensor) -> AV[Tensor]:
    return AV(z.audio + by, z.video) if side == "audio" else AV(z.audio, z.video + by)
