"""Requests to files of clips, step by step: one system in memory, one clip at a time."""

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmdisco.app.config import AppConfig
from mmdisco.app.workspace import Workspace
from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET, GenerateConfig, SystemConfig
from mmdisco.generation.metadata import OutputPaths
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.resolve import check, resolve
from mmdisco.generation.system import JointSystem
from mmdisco.media.clip import AudioVideo

if TYPE_CHECKING:
    from mmdisco.app.inside import GradientRecording
    from mmdisco.generation.particles import EffectiveSampleSize


@dataclass(frozen=True)
class Progress:
    """How far a clip is.

    Attributes:
        doing: What is under way.
        done: Steps that are done.
        total: Steps of the clip.
        left: Seconds that the other steps take, once that is known.
    """

    doing: str
    done: int
    total: int
    left: float | None = None


@dataclass(frozen=True)
class MadeClip:
    """A clip and its files.

    Attributes:
        paths: Its files.
        config: Its resolved request.
        clip: The clip.
        logits: The discriminator's logit of every candidate, where there was a choice.
        notices: Deviations from the request, one line each.
        seconds: Time that it took.
    """

    paths: OutputPaths
    config: GenerateConfig
    clip: AudioVideo
    logits: Sequence[float] | None
    notices: Sequence[str]
    seconds: float


class Studio:
    """Systems of the page, and what it makes with them.

    Args:
        app: Options of the page.
        workspace: Where files are written.
    """

    def __init__(self, app: AppConfig, workspace: Workspace) -> None:
        self.app = app
        self.workspace = workspace
        self._is_warm = False
        self._built: tuple[SystemConfig, JointSystem] | None = None

    def system(self, chosen: SystemConfig) -> JointSystem:
        """Return a system; only the last one stays in memory.

        Raises:
            UserError: There is no such preset, or it has no such option.
        """
        if self._built is None or self._built[0] != chosen:
            self._built = None
            self._built = (chosen, system_of(chosen))
        return self._built[1]

    def warm(self) -> None:
        """Import the libraries behind a clip, and load small models, before one is asked for."""
        if self._is_warm:
            return
        self._is_warm = True
        for name in ("mmdisco.generation.pipeline", "mmdisco.media.plots"):
            import_module(name)
        if self.app.preset == PRESET:
            system = self.system(self.app.system)
            system.model()
            system.discriminator()

    def make(
        self, config: GenerateConfig, name: str, recording: "GradientRecording | None" = None
    ) -> Iterator[Progress | MadeClip]:
        """Make a clip.

        Args:
            config: Request for one clip.
            name: Name of its files, without suffix.
            recording: Filled in with the readings of the discriminator.

        Yields:
            How far it is, after each step; at last the clip.

        Raises:
            UserError: The request cannot be met.
        """
        begin = time.monotonic()
        system = self.system(config.system)
        resolved = resolve(config, system)
        steps = resolved.steps or 1
        if steps > self.app.max_steps:
            raise UserError(f"{steps} steps: ask for at most {self.app.max_steps} on this page")
        notices = check(resolved, system)
        yield Progress("loading", 0, steps)
        # the libraries behind take seconds to import, which a mistake need not wait for
        from mmdisco.generation.generate import prepare
        from mmdisco.generation.metadata import ClipMetadata, Environment, Given, title_of
        from mmdisco.io.files import write_json

        environment = Environment.of_run([resolved], system)[0]
        prepared = prepare(resolved, system)
        if recording is not None:
            prepared = replace(prepared, generation=recording.attach(prepared.generation))
        given = Given.of(resolved, system.form.seconds, ".mp4")
        # the file lies in a folder of the page, which is nobody's business
        remarks = [
            line.replace(f"{resolved.given}", _name(resolved)) for line in prepared.remarks()
        ]
        first = time.monotonic()
        yield Progress("sampling", 0, steps)
        z_0 = None
        sizes: list[EffectiveSampleSize] = []
        for done, latents in enumerate(prepared.run(sizes.append), start=1):
            z_0 = latents
            left = (time.monotonic() - first) / done * (steps - done)
            yield Progress("sampling", done, steps, left)
        assert z_0 is not None  # there is at least one step
        yield Progress("decoding", steps, steps)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", UserWarning)
            selection = prepared.select(z_0)
            [clip] = selection.clips()
        paths = self.workspace.new_clip(name)
        given.write(clip, paths, title_of(resolved))
        logits = None if selection.logits is None else selection.logits[0]
        seconds = time.monotonic() - begin
        looks = [one.of_clip(0) for one in sizes]
        record = ClipMetadata(resolved, 0, environment, logits, looks).to_record(seconds)
        for side in ("video", "audio"):
            if side in record:  # its place on this machine is soon empty, and nobody's business
                record[side] = Path(record[side]).name
        write_json(paths.record, record)
        told = [*filter(None, [given.used.replace(f"{resolved.given}", _name(resolved))]), *notices]
        told += remarks + [str(one.message) for one in said]
        yield MadeClip(paths, resolved, clip, logits, told, seconds)


def _name(config: GenerateConfig) -> str:
    return "" if config.given is None else config.given.name
