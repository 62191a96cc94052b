"""Whole runs of the released sampler, with its discriminators, schedules and order of noise.

The base models are tiny ones of random weights. Where those of a run are recorded they are run;
elsewhere their recorded predictions stand in for them.
"""

from dataclasses import dataclass

import pytest
import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from recordings import FOLDER, record_of, recordings, schedule_of
from safetensors.torch import load_file
from test_released_vectors import close, config_of, network_of, under

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, ConstantScale, JointGuidance
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import Sampler, TimestepSpacing
from mmdisco.core.schedulers import Solver, SolverState
from mmdisco.core.strided import StridedDDPM
from mmdisco.discriminators.wrappers import ClampedLogit

CAPTION, EMPTY = 1.0, 0.0
# not in the records: the release samples VideoCrafter on other levels than it was trained on
VIDEOCRAFTER = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}


def strided(schedule, config):
    """DDPM as a scheduler is recorded; its tables have clipped unless told otherwise."""
    clip_sample = config.get("clip_sample", config is not VIDEOCRAFTER)
    return StridedDDPM(schedule, clip_sample)


@dataclass(frozen=True)
class Timesteps(TimestepSpacing):
    """The recorded ones."""

    wanted: torch.Tensor

    def stops(self, path, steps):
        return self.wanted.to(torch.float64) / 999


@dataclass(frozen=True)
class AlwaysDraws(Solver):
    """The release draws noise at timestep 0 too, and then multiplies it by nothing."""

    solver: Solver

    def begin(self, levels):
        return AlwaysDrawsRun(self.solver.begin(levels), levels)


@dataclass(frozen=True)
class AlwaysDrawsRun(SolverState):
    run: SolverState
    levels: NoiseLevel

    def step(self, index, x_t, eps, noise):
        stepped = self.run.step(index, x_t, eps, noise)
        if self.levels.t[index] == 0:
            torch.randn(x_t.shape, generator=noise[0])
        return stepped

    def arrival(self, levels, index):
        return self.run.arrival(levels, index)

    def copy(self):
        return AlwaysDrawsRun(self.run.copy(), self.levels)

    def take(self, rows):
        return AlwaysDrawsRun(self.run.take(rows), self.levels)


class Replayed(Denoiser):
    """A base model that says what was recorded of it, in turn."""

    def __init__(self, schedule, rows):
        self.own = schedule
        self.rows = {caption: iter(given) for caption, given in rows.items()}

    @property
    def schedule(self):
        return self.own

    def predict_noise(self, x_t, level, cond):
        return next(self.rows[float(cond.embeds[0][0])])


class UNet(Denoiser):
    """A U-Net of diffusers."""

    def __init__(self, schedule, network, options):
        self.own = schedule
        self.network = network
        self.options = options

    @property
    def schedule(self):
        return self.own

    def predict_noise(self, x_t, level, cond):
        t = level.t.round().long()
        return self.network(x_t, t, **self.options(cond.embeds[1])).sample


class MelFirst(Discriminator):
    """A discriminator of sounds (b, c, m, l), as Auffusion has them."""

    def __init__(self, discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(self, z_t, level, text):
        return self.discriminator(AV(z_t.audio.mT, z_t.video), level, text)


class Recording:
    def __init__(self, name):
        self.folder = FOLDER
        self.name = name
        self.record = record_of(name)["params"]
        self.tensors = load_file(self.folder / f"{name}.safetensors")
        self.weights = self.record.get("weights_of", name)
        self.mel_first = self.record["pair"] == "auffusion_videocrafter"
        self.configs = AV(self.record["a_sched"], self.record.get("v_sched", VIDEOCRAFTER))
        self.schedules = self.configs.map(schedule_of)

    def bases(self):
        if self.mel_first or not (self.folder / f"{self.weights}_weights_audio_unet.json").exists():
            return AV(self.replayed("audio"), self.replayed("video"))
        audio = UNet2DConditionModel(**self.record["a_unet"])
        video = UNetMotionModel(**self.record["v_unet"])
        for network, side in ((audio, "audio"), (video, "video")):
            path = self.folder / f"{self.weights}_weights_{side}_unet.safetensors"
            network.load_state_dict(load_file(path))
            network.eval()

        def as_class(text):
            return {"class_labels": text, "encoder_hidden_states": None}

        def as_tokens(text):
            # of each frame
            return {"encoder_hidden_states": text.repeat_interleave(self.record["num_frames"], 0)}

        return AV(
            UNet(self.schedules.audio, audio, as_class),
            UNet(self.schedules.video, video, as_tokens),
        )

    def replayed(self, side):
        rows = {
            CAPTION: self.tensors[f"traj.{side}.base_cond"],
            EMPTY: self.tensors[f"traj.{side}.base_uncond"],
        }
        return Replayed(getattr(self.schedules, side), rows)

    def captions(self, ending, mark):
        def one(side):
            text = self.tensors[f"emb.{side}{ending}"]
            pooled = text.mean(1) if text.ndim == 3 else text
            return Conditioning(pooled, (torch.full((len(text), 1), mark), text))

        return AV(one("audio"), one("video"))

    def denoiser(self):
        pair = IndependentDenoisers(self.bases())
        if self.record.get("joint", True):
            weights = load_file(self.folder / f"{self.weights}_weights_disc.safetensors")
            network = network_of(config_of(self.record["disc"]), under("disc.", weights))
            network = MelFirst(network) if self.mel_first else network
            scale = AV(self.record["joint_scale_audio"], self.record["joint_scale_video"])
            pair = JointGuidance(pair, ClampedLogit(network), scale.map(ConstantScale))
        weight = AV(self.record["a_scale"], self.record["v_scale"])
        null = self.captions("_neg", EMPTY).map(
            lambda one: Conditioning(one.pooled[:1], tuple(part[:1] for part in one.embeds))
        )
        return ClassifierFreeGuidance(pair, null, weight)

    def sampler(self):
        return Sampler(
            SameTimestep(self.schedules),
            each(
                lambda schedule, config: AlwaysDraws(strided(schedule, config)),
                self.schedules,
                self.configs,
            ),
            steps=self.record["steps"],
            grid=Timesteps(self.tensors["sched.timesteps"]),
            resamples=self.record["joint_num_steps"] - 1,
        )

    def initial(self, generator):
        """Drawn with time before mel, whatever the order that the base has them in."""
        b, c, *rest = self.tensors["init.audio"].shape
        sizes = rest[::-1] if self.mel_first else rest
        audio = torch.randn(b, c, *sizes, generator=generator)
        video = torch.randn(self.tensors["init.video"].shape, generator=generator)
        return AV(audio.mT if self.mel_first else audio, video)


@pytest.fixture(
    scope="module",
    params=recordings("traj_"),
)
def recording(request):
    return Recording(request.param)


def test_schedules_are_those_of_the_release(recording):
    for side in ("audio", "video"):
        alphas_cumprod = recording.tensors[f"sched.{side}.alphas_cumprod"].double()
        close(getattr(recording.schedules, side).alphas.square(), alphas_cumprod)


def test_guided_run_ends_where_the_release_ends(recording):
    generator = torch.Generator().manual_seed(recording.record["gen_seed"])
    z_T = recording.initial(generator)
    close(z_T.audio, recording.tensors["init.audio"])
    noise = NoiseSource(AV([generator], [generator]))
    z = recording.sampler().sample(
        recording.denoiser(), z_T, recording.captions("", CAPTION), noise
    )
    close(z.audio, recording.tensors["final.audio_latent"], 1e-3)
    close(z.video, recording.tensors["final.video_latent"], 1e-3)
