"""Making of own base models: stages in order, each resumable, and last the folder of the pair.

    captions → text encoder;  frames, spectrograms → autoencoders;  clips → latents → denoisers

Everything on the way lies in ``training`` below the folder; a finished network is not made again.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mmdisco.adapters.miniature.autoencoder import NormalizedVAE
from mmdisco.adapters.miniature.denoiser import ConvTransformer
from mmdisco.adapters.miniature.model import MiniatureAudioCodec, TextEncoder
from mmdisco.core.av import AV
from mmdisco.data.config import PrepareConfig
from mmdisco.data.pairing import evenly_spaced, select_pairs
from mmdisco.data.prepare.encode import ShardEncoder, decode_clips, skip_reason
from mmdisco.data.prepare.layouts import source_of
from mmdisco.data.prepare.plan import PreparePlan
from mmdisco.data.prepare.planning import make_plan
from mmdisco.data.prepare.run import prepare
from mmdisco.data.prepare.sources import TRAIN, VALIDATION
from mmdisco.data.prepared import PreparedFolder
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import (
    expect_writable,
    read_json,
    read_object,
    read_tensors,
    write_json,
    write_tensors,
)
from mmdisco.io.locking import alone
from mmdisco.media.clip import AudioVideo
from mmdisco.training.bases.autoencoders import CODES, train_autoencoder
from mmdisco.training.bases.card import write_bases_card
from mmdisco.training.bases.config import BasesConfig, FitConfig
from mmdisco.training.bases.denoisers import train_denoiser
from mmdisco.training.bases.fit import FitRun
from mmdisco.training.bases.pair import (
    denoiser_configs,
    latent_shapes,
    new_autoencoders,
    pack,
    pair_record,
    spectrogram_axes,
)
from mmdisco.training.bases.samples import SampleSheets, draw_reconstructions
from mmdisco.training.bases.side_by_side import Show, side_by_side
from mmdisco.training.bases.text import train_text_encoder, vocabulary_of, words_said

Network = TypeVar("Network", bound=nn.Module)
Part = Literal["autoencoder", "denoiser"]
"""Network that each modality has of its own."""

SIDES: Final = ("video", "audio")
POOL_BYTES: Final = 600_000_000
"""Most bytes of the frames that autoencoders are trained on."""
_BLOCK: Final = 8  # clips of the pool that are decoded in one pass
_SHEET: Final = 4  # clips of a sheet of samples


class BasesRun:
    """Making of own base models, begun or resumed.

    Args:
        config: The configuration.
        show: Shows progress.
        notify: Is called with each line for the user.
        jobs: Number of processes: the networks of the two modalities are trained one after the
            other, or side by side.
    """

    def __init__(
        self, config: BasesConfig, show: Show, notify: Callable[[str], None], jobs: int = 1
    ) -> None:
        self._config = config
        self._jobs = jobs
        self._show = show
        self._notify = notify
        self._work = config.out / "training"
        self._settings = self._work / "settings.json"

    def make(self) -> Path:
        """Train what is not trained yet, and write the folder; return its model card.

        Raises:
            UserError: The folder was made with other settings or cannot be written, the source is
                missing, or no clip is of use.
        """
        out, card = self._config.out, self._config.out / "README.md"
        expect_writable(out / "config.json")
        self._expect_own()
        if card.exists():
            return card
        with self._timed("text encoder"):
            text = self._text()
        self._train_both("autoencoder")
        vars(self).pop("_pools", None)  # frees what takes the most memory
        with self._timed("latents"):
            system = self._encoders(text)
            clips = self._clips(system)
        self._train_both("denoiser")
        self._pack(out, text, [self._kept(f"{side}_denoiser") for side in SIDES])
        self._sheets(MiniatureSystem(out), clips).draw(out / "samples" / "clips.png")
        write_bases_card(card, self._config, clips, text.vocabulary.words, self._durations)
        return card

    def train(self, part: Part, side: str) -> None:
        """Train one network, begun or resumed; all stages before it must be done."""
        with self._timed(f"{side} {part}"):
            if part == "autoencoder":
                self._autoencoder(side)
            else:
                system = MiniatureSystem(self._work / "encoders")
                self._denoiser(side, system, PreparedFolder(self._preparation.out))

    def _train_both(self, part: Part) -> None:
        missing = [side for side in SIDES if not self._is_kept(f"{side}_{part}")]
        if min(self._jobs, len(missing)) > 1:
            tasks = [SideTraining(self._config, part, side) for side in missing]
            side_by_side(train_side, tasks, self._show)
        else:
            for side in missing:
                self.train(part, side)

    def _expect_own(self) -> None:
        """Refuse to resume under other settings, or to replace another pair."""
        now = self._config.arguments()
        if not self._settings.exists() and (self._config.out / "config.json").exists():
            raise UserError(f"{self._config.out} holds a pair already: give another folder")
        then = read_object(self._settings) if self._settings.exists() else now
        for key in sorted(then.keys() | now.keys()):
            if then.get(key) != now.get(key):
                raise UserError(
                    f"{self._config.out} was made with {key} {then.get(key)}, not {now.get(key)}: "
                    "give the same settings or another folder"
                )

    @cached_property
    def _preparation(self) -> PrepareConfig:
        config = self._config
        return PrepareConfig(
            source=config.source,
            out=self._work / "clips",
            layout="clips",
            captions=config.captions,
            validation=config.validation,
            preset=str((self._work / "encoders").absolute()),
        )

    @cached_property
    def _plan(self) -> PreparePlan:
        source, plan = source_of(self._preparation, self._notify), PreparePlan((), ())
        for step in make_plan(source, self._config.form, self._preparation):
            if isinstance(step, PreparePlan):
                plan = step
            else:
                self._show("looking at files", 0, None, "")
        if not plan.clip_groups:
            raise UserError(
                f"{self._config.source} has no clip of {float(self._config.form.seconds):g} s with "
                "sound: give another folder, or a shorter --seconds"
            )
        return plan

    def _text(self) -> TextEncoder:
        words, config = self._work / "words.json", self._config
        if not words.exists():
            groups = [one for one in self._plan.clip_groups if one.split == TRAIN]
            said = {one for group in groups for one in (group.caption, group.audio_caption) if one}
            captions = ["", *sorted(said)]
            known = vocabulary_of(captions)
            write_json(self._settings, config.arguments())  # from here on there is work to keep
            with _seeded(config.seed):
                encoder, run = TextEncoder(known), self._run("text_encoder", config.text)
                answers = words_said(encoder, captions)
                self._keep("text_encoder", train_text_encoder(encoder, captions, answers, run))
            write_json(words, list(known))
        return self._loaded("text_encoder", TextEncoder(read_json(words)))

    @cached_property
    def _pools(self) -> AV[Tensor]:
        """Spectrograms, and frames as bytes, of clips evenly spaced over the training data."""
        form = self._config.form
        blocks = [one for one in self._plan.blocks(_BLOCK) if one.split == TRAIN]
        most = POOL_BYTES // (3 * form.frames * form.size[0] * form.size[1] * _BLOCK)
        chosen = [blocks[index] for index in evenly_spaced(len(blocks), max(1, most))]
        total, kept = sum(map(len, chosen)), 0
        codec = MiniatureAudioCodec(
            new_autoencoders(self._config).audio,
            form,
            latent_shapes(self._config).audio,
            spectrogram_axes(self._config),
        )
        frames = torch.empty(total, form.frames, 3, *form.size, dtype=torch.uint8)
        sounds: list[Tensor] = []
        found = (one for block in chosen for _, _, one in decode_clips(block, form))
        for done, clip in enumerate(found, start=1):
            self._show("clips for the autoencoders", done, total, "")
            if isinstance(clip, AudioVideo) and skip_reason(clip) is None:
                pixels = np.round(clip.video.frames * 255).astype(np.uint8)
                frames[kept] = torch.from_numpy(pixels).movedim(3, 1)
                sounds.append(codec.spectrograms([clip.audio]))
                kept += 1
        if not kept:
            raise UserError(
                f"no clip of {self._config.source} is of use: all are silent, frozen or damaged"
            )
        return AV(torch.cat(sounds), frames[:kept].flatten(0, 1))

    def _autoencoder(self, side: str) -> None:
        name = f"{side}_autoencoder"
        if self._is_kept(name):
            return
        with _seeded(self._config.seed):
            network: NormalizedVAE = getattr(new_autoencoders(self._config), side)
        pool, run = getattr(self._pools, side), self._run(name, getattr(self._config, name))
        trained = train_autoencoder(network.network, pool, CODES[side], run)
        draw_reconstructions(self._config.out / "samples" / f"{name}.png", trained, pool)
        self._keep(name, trained)

    def _encoders(self, text: TextEncoder) -> MiniatureSystem:
        """Return the pair of what is trained by now and untrained denoisers."""
        folder = self._work / "encoders"
        if not (folder / "config.json").exists():
            self._pack(folder, text, [self._new_denoiser(side).state_dict() for side in SIDES])
        return MiniatureSystem(folder)

    def _clips(self, system: MiniatureSystem) -> PreparedFolder:
        for step in prepare(self._preparation, ShardEncoder(system)):
            if step.notice:
                self._notify(step.notice)
            self._show("latents", step.done, step.total or None, "")
        return PreparedFolder(self._preparation.out)

    def _new_denoiser(self, side: str) -> ConvTransformer:
        with _seeded(self._config.seed):
            return ConvTransformer(getattr(denoiser_configs(self._config), side))

    def _denoiser(self, side: str, system: MiniatureSystem, clips: PreparedFolder) -> None:
        name = f"{side}_denoiser"
        if self._is_kept(name):
            return
        config: FitConfig = getattr(self._config, name)
        pairs, model, network = clips.store(TRAIN).read(), system.model(), self._new_denoiser(side)
        captions = getattr(pairs.cond, side).pooled, model.encode_prompts([""]).video.pooled
        schedule, sheets = getattr(model, side).schedule, self._sheets(system, clips)

        def draw(done: int, average: nn.Module) -> None:
            if done % self._config.sample_every == 0 or done == config.steps:
                assert isinstance(average, ConvTransformer)
                path = self._config.out / "samples" / f"{side}-{done:06d}.png"
                sheets.draw_side(path, side, average)

        run = self._run(name, config, draw)
        latents = getattr(pairs.z_0, side)
        self._keep(name, train_denoiser(network, schedule, latents, captions, run))

    def _sheets(self, system: MiniatureSystem, clips: PreparedFolder) -> SampleSheets:
        split = VALIDATION if clips.manifest[VALIDATION] else TRAIN
        rows = evenly_spaced(len(clips.manifest[split]), _SHEET)
        captions = clips.texts(split).map(lambda texts: [texts[row] for row in rows])
        return SampleSheets(system, captions, select_pairs(clips.store(split).read(), rows).z_0)

    def _pack(self, folder: Path, text: TextEncoder, denoisers: list[dict[str, Tensor]]) -> None:
        networks = {"text_encoder": text.state_dict()}
        networks |= {f"{side}_autoencoder": self._kept(f"{side}_autoencoder") for side in SIDES}
        networks |= {f"{side}_denoiser": one for side, one in zip(SIDES, denoisers, strict=True)}
        pack(networks, pair_record(self._config, text.vocabulary.words), folder, {})

    def _run(
        self,
        name: str,
        config: FitConfig,
        draw: Callable[[int, nn.Module], None] = lambda done, average: None,
    ) -> FitRun:
        def watch(done: int, loss: float, average: nn.Module) -> None:
            self._show(name.replace("_", " "), done, config.steps, f"loss {loss:.4f}")
            draw(done, average)

        return FitRun(config, self._config.seed, self._work / f"{name}_training.safetensors", watch)

    def _is_kept(self, name: str) -> bool:
        return (self._work / f"{name}.safetensors").exists()

    def _keep(self, name: str, network: nn.Module) -> None:
        """Write a trained network; its checkpoint is not needed any more."""
        write_tensors(self._work / f"{name}.safetensors", network.state_dict(), {})
        (self._work / f"{name}_training.safetensors").unlink(missing_ok=True)

    def _kept(self, name: str) -> dict[str, Tensor]:
        return read_tensors(self._work / f"{name}.safetensors")

    def _loaded(self, name: str, network: Network) -> Network:
        network.load_state_dict(self._kept(name))
        return network.eval().requires_grad_(False)  # noqa: FBT003

    @contextmanager
    def _timed(self, stage: str) -> Generator[None]:
        """Add the CPU seconds of the block to those of a stage."""
        began = time.process_time()
        try:
            yield
        finally:
            spent = time.process_time() - began
            if self._settings.exists():
                with alone(self._work / "durations.lock"):  # another process may add to it too
                    seconds = self._durations
                    seconds[stage] = seconds.get(stage, 0.0) + spent
                    write_json(self._work / "durations.json", seconds)

    @property
    def _durations(self) -> dict[str, Any]:
        path = self._work / "durations.json"
        return read_object(path) if path.exists() else {}


@dataclass(frozen=True)
class SideTraining:
    """Training of one network in a process of its own.

    Attributes:
        config: The configuration of the pair.
        part: What it is.
        side: Its modality.
    """

    config: BasesConfig
    part: Part
    side: str


def train_side(task: SideTraining, show: Show) -> None:
    """Train the network of a task."""
    BasesRun(task.config, show, lambda line: None).train(task.part, task.side)


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Draw the weights of new networks from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
