"""Whole runs of the release through what ``mmdisco generate --as-released`` runs.

A preset is told ``as_released``, its pair prepares a request and samples: method, timesteps,
solver, bounded logit and order of guidance are the command's own. What is put in from the
recordings are checkpoints, encoded prompts and the one stream of random numbers.
Predictions of the base models are recorded where their weights are not.
"""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_ddpm
from recordings import recordings
from safetensors.torch import load_file
from test_adapters_golden import animatediff, audioldm, predicted
from test_auffusion_vectors import Recording as AuffusionRecording
from test_auffusion_vectors import canonical, recorded_parts
from test_mmdiffusion_vectors import FULL, PACKED, judge_of
from test_mmdiffusion_vectors import config_of as joint_config_of
from test_released_trajectories import Recording, strided
from test_released_vectors import config_of, under
from test_videocrafter2_vectors import RUN, silent_parts
from test_videocrafter2_vectors import Recording as VideoCrafterRecording

from mmdisco.adapters.auffusion.codec import SilencePadding
from mmdisco.adapters.auffusion.model import Auffusion
from mmdisco.adapters.mmdiffusion.checkpoint import load_joint
from mmdisco.adapters.mmdiffusion.shifts import SeededShifts
from mmdisco.adapters.stock.model import StockModel
from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.adapters.videocrafter2.model import VideoCrafter2
from mmdisco.core import sampler
from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import BaseModel, Conditioning, Denoiser
from mmdisco.core.rng import NoiseSource
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import MeanFusionConfig
from mmdisco.discriminators.official.latents import OfficialVideo, Waveform
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.generate import prepare
from mmdisco.generation.presets.base_models import BaseModelSpec
from mmdisco.generation.presets.mmdiffusion import MMDiffusionPreset
from mmdisco.generation.presets.official_release import (
    JointInsideCFG,
    ReleasedTime,
    TrailingSpacing,
)
from mmdisco.generation.presets.pretrained import OfficialDiscriminator
from mmdisco.generation.presets.text_pairs import TextPreset, videocrafter2_as_released
from mmdisco.generation.resolve import resolve
from mmdisco.generation.system import SamplingDefaults
from mmdisco.media.clip import ClipSpec

PROMPT = "what was recorded"


class Told(BaseModel):
    """A base model whose prompts, and perhaps predictions, are the recorded ones."""

    def __init__(self, recording, side, model=None):
        self.recording, self.side = recording, side
        self.denoiser: Denoiser = model or recording.replayed(side)
        self.model = model

    @property
    def schedule(self):
        return self.denoiser.schedule

    def predict_noise(self, x_t, level, cond):
        if self.model is None:
            return self.denoiser.predict_noise(x_t, level, cond)
        if isinstance(self.model, StockModel):
            return predicted(self.model, x_t, level.expand(len(x_t)), cond.embeds[1])
        return self.denoiser.predict_noise(x_t, level, Conditioning(cond.pooled, cond.embeds[1:]))

    def encode_prompts(self, prompts: Sequence[str]):
        text = self.recording.tensors[f"emb.{self.side}" + ("" if prompts[0] else "_neg")]
        text = text[: len(prompts)]
        mark = torch.full((len(text), 1), float(bool(prompts[0])))
        return Conditioning(text.mean(1) if text.ndim == 3 else text, (mark, text))

    def latent_shape(self, seconds):
        return self.recording.own(f"init.{self.side}").shape[1:]

    def encode(self, media):
        raise NotImplementedError

    def decode(self, x_0):
        return self.model.decode(x_0)


@dataclass(frozen=True)
class ToldBase(BaseModelSpec):
    model: Told

    @property
    def components(self):
        return ()

    def expect(self, options):
        pass

    def load(self, options, form):
        return self.model


@dataclass(frozen=True)
class RecordedPadding(SilencePadding):
    """The padding's noise, drawn anew at every evaluation; ours asks with the caption first."""

    drawn: deque

    def extend(self, x_t, level):
        noise = self.drawn.popleft()[0]
        before = torch.zeros(4, 128 - noise.shape[1], 32)
        own = SilencePadding(self.silence, torch.cat([before, noise], dim=1))
        return own.extend(x_t, level)


class Run(Recording):
    """A recorded run as a preset and a request."""

    sides = ("audio", "video")

    def own(self, name):
        """A tensor in our layout: time before mel."""
        value = self.tensors[name]
        return value.mT if self.mel_first and ".audio" in name else value

    def replayed(self, side):
        denoiser = super().replayed(side)
        if self.mel_first and side == "audio":
            denoiser.rows = {k: map(canonical, rows) for k, rows in denoiser.rows.items()}
        return denoiser

    def drawn(self):
        """The random numbers in the order in which the release draws them."""
        generator = torch.Generator().manual_seed(self.record["gen_seed"])
        rows = {}

        def draw(kind):
            for side in self.sides:
                shape = self.tensors[f"init.{side}"].shape
                drawn = torch.randn(shape, generator=generator)
                rows.setdefault(f"traj.{side}.{kind}", []).append(drawn)

        draw("init")
        for _ in range(self.record["steps"]):
            for again in range(self.record["joint_num_steps"]):
                if again:
                    draw("rev_noise")
                draw("noise")
        return rows

    def models(self, folder):
        """Of either side, with their weights where those are recorded."""
        if self.mel_first:
            return AV(self.auffusion(), self.videocrafter2(folder))
        if not (self.folder / f"{self.weights}_weights_audio_unet.json").exists():
            return AV(None, None)
        unets, decoders, images, vae = (
            load_file(self.folder / f"{self.weights}_weights_{name}.safetensors")
            for name in ("audio_unet", "audio_dec", "video_unet", "video_vae")
        )
        return AV(audioldm(self.record, unets, decoders), animatediff(self.record, images, vae))

    def auffusion(self):
        made = recorded_parts(AuffusionRecording(self.folder, stored=True))
        kinds = [self.own(f"traj.audio.pad_noise_{one}") for one in ("cond", "uncond")]
        drawn = deque(row for both in zip(*kinds, strict=True) for row in both)
        silence = canonical(self.tensors["zero_emb"])[0]
        return Auffusion(made, padding=RecordedPadding(silence, silence, drawn))

    def videocrafter2(self, folder):
        made = VideoCrafterRecording(self.folder, stored=True).networks(RUN, folder)
        picture = VideoSpec(16, 16, Fraction(8))
        return VideoCrafter2(silent_parts(made), picture, schedule=videocrafter2_as_released())

    def pair(self, folder):
        models = self.models(folder)
        if self.record.get("joint", True):
            weights = load_file(self.folder / f"{self.weights}_weights_disc.safetensors")
            (folder / "mmdisco").mkdir()
            torch.save(under("disc.", weights), folder / "mmdisco" / "recorded.pt")
            config = config_of(self.record["disc"])
        else:
            config = OfficialConfig(Waveform(1), OfficialVideo(1), MeanFusionConfig())
        scales = AV(float(self.record["a_scale"]), float(self.record["v_scale"]))
        joint = AV(float(self.record["joint_scale_audio"]), float(self.record["joint_scale_video"]))
        preset = TextPreset(
            title="recorded",
            audio=ToldBase(Told(self, "audio", models.audio)),
            video=ToldBase(Told(self, "video", models.video)),
            discriminator=OfficialDiscriminator("recorded", 0.0, lambda _: config),
            usual=SamplingDefaults(self.record["steps"], "ddpm", scales, joint, 1.0, 1.0),
            clips=ClipSpec(Fraction(1, 2), Fraction(8), (16, 16), 16_000),
            gigabytes=0.0,
        )
        return replace(preset.as_released(), method=self.method()).pair(
            SystemConfig(weights=folder)
        )

    def method(self):
        """The released one, at the timesteps and with the clipping of the record."""
        config = self.configs.audio
        grids = {
            "leading": ReleasedTime(config.get("steps_offset", 0)),
            "trailing": TrailingSpacing(),
        }
        clips = each(strided, self.schedules, self.configs).map(lambda one: one.clip_sample)
        return JointInsideCFG(grids[config.get("timestep_spacing", "leading")], clips)

    def request(self):
        return GenerateConfig(
            prompt=PROMPT,
            as_released=True,
            samples=len(self.tensors["init.audio"]),
            resample=self.record["joint_num_steps"] - 1,
            no_joint_guidance=not self.record.get("joint", True),
        )


def stream_of(run, monkeypatch):
    """The recorded random numbers in place of ours."""

    if "traj.audio.noise" in run.tensors:
        names = [f"traj.{side}.{kind}" for kind in ("noise", "rev_noise") for side in run.sides]
        rows = {name: run.own(name) for name in names if name in run.tensors}
    else:
        rows = run.drawn()

    def of_shape(kind):
        return {
            run.own(f"init.{side}").shape: iter(rows.get(f"traj.{side}.{kind}", ()))
            for side in run.sides
        }

    steps, back = of_shape("noise"), of_shape("rev_noise")
    start = AV(run.own("init.audio"), run.own("init.video"))
    monkeypatch.setattr(NoiseSource, "draw", lambda *_: start)
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda shape, **_: next(steps[shape]))
    monkeypatch.setattr(sampler, "randn_tensor", lambda shape, *_: next(back[shape]))


def near(one, other, share=1e-3):
    assert (one - other).abs().max() <= share * other.abs().max()


@pytest.mark.parametrize(
    "name",
    recordings("traj_"),
)
def test_a_pair_as_released_runs_as_recorded(name, tmp_path, monkeypatch):
    run = Run(name)
    stream_of(run, monkeypatch)
    pair = run.pair(tmp_path)
    prepared = prepare(resolve(run.request(), pair), pair)
    z = deque(prepared.run(), maxlen=1).pop()
    near(z.audio, run.own("final.audio_latent"))
    near(z.video, run.own("final.video_latent"))
    if cast(Any, prepared.generation.model).audio.model is None:
        return
    clips = prepared.select(z).clips()
    sounds, frames = run.tensors["output.audio_int16"], run.tensors["output.video_uint8"]
    for clip, sound, shown in zip(clips, sounds.numpy(), frames.numpy(), strict=True):
        made = np.trunc(clip.audio.waveform[: len(sound)] * 32768)
        assert np.abs(made - sound).max() <= 1 + 1e-3 * np.abs(sound.astype(int)).max()
        made = np.trunc(clip.video.frames * 255).transpose(3, 0, 1, 2)
        assert np.abs(made - shown).max() <= 1


@pytest.fixture(params=["packed", "full"])
def joint_folder(request):
    if request.param == "full" and not FULL:
        pytest.skip("set MMDISCO_GOLDEN to the folder of all recordings")
    return PACKED if request.param == "packed" else type(PACKED)(FULL)


@pytest.mark.parametrize("guided", [True, False])
def test_mm_diffusion_as_released_runs_as_recorded(guided, joint_folder, tmp_path, monkeypatch):
    name = "mmdiff_guided_dpm_solver"
    record = json.loads((joint_folder / f"{name}.json").read_text())
    tensors = load_file(joint_folder / f"{name}.safetensors")

    def checkpoint(kind, path):
        weights = load_file(joint_folder / f"{name}_weights_{kind}.safetensors")
        path.parent.mkdir()
        torch.save(
            {k.split("weights.")[-1].removeprefix("disc."): x for k, x in weights.items()}, path
        )

    checkpoint("unet", tmp_path / "mmdiffusion" / "recorded.pt")
    # of another shape than the published one: the converted folder knows its own
    load_joint(tmp_path / "mmdiffusion" / "recorded.pt", joint_config_of(record["flags"]))
    (tmp_path / "mmdiffusion" / "recorded.pt").unlink()
    checkpoint("disc", tmp_path / "mmdisco" / "recorded.pt")
    judge = judge_of(record)
    frames, side = record["flags"]["video_size"][0], record["flags"]["video_size"][2]
    preset = MMDiffusionPreset(
        title="recorded",
        file="recorded.pt",
        upscaler_file="none.pt",
        discriminator=OfficialDiscriminator("recorded", 0.0, lambda _: judge),
        clips=ClipSpec(Fraction(frames, 10), Fraction(10), (side, side), 16_000),
    )
    start = AV(tensors["x_T.audio"], tensors["x_T.video"].transpose(1, 2))
    monkeypatch.setattr(NoiseSource, "draw", lambda *_: start)
    # the windows of this recording are not shifted
    monkeypatch.setattr(SeededShifts, "draw", lambda _, t, *__: [0] * len(t))
    scales = [float(record[f"joint_scale_{one}"]) for one in ("audio", "video")]
    request = GenerateConfig(samples=len(start.audio), no_joint_guidance=True)
    if guided:
        request = GenerateConfig(
            samples=len(start.audio), joint_scale_audio=scales[0], joint_scale_video=scales[1]
        )
    pair = preset.as_released().pair(SystemConfig(weights=tmp_path))
    prepared = prepare(resolve(request, pair), pair)
    z = deque(prepared.run(), maxlen=1).pop()
    prefix = "" if guided else "unguided."
    sounds = tensors[f"{prefix}output.audio"]
    near(z.audio, sounds)
    if guided:
        near(z.video, tensors["final.video"].transpose(1, 2))
    shown = tensors[f"{prefix}output.video_uint8"].numpy().astype(int)
    made = np.stack([np.trunc(clip.video.frames * 255) for clip in prepared.select(z).clips()])
    assert np.abs(made - shown).max() <= 1
