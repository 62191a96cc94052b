"""Scores of clips that are uploaded: how well sound and picture belong together.

A clip is read as a given file is, up to the length of the system's clips. Two judges score it: the
discriminator by its logit of both clean latents, and the sync scorer of ``mmdisco evaluate``, which
reads pixels and waveform and guides nothing. Of clips of sounding objects, the events are counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmdisco.app.config import AppConfig
from mmdisco.app.requests import expect_media
from mmdisco.errors import UserError
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object
from mmdisco.media.clip import AudioVideo

if TYPE_CHECKING:
    from mmdisco.core.denoiser import JointModel
    from mmdisco.core.discriminator import Discriminator
    from mmdisco.evaluation.metrics.sync.scorer import SyncScorer


@dataclass(frozen=True)
class ScoredClip:
    """An uploaded clip and its scores.

    Attributes:
        path: Its file.
        caption: Caption that the score is for.
        logit: The discriminator's logit; None where the clip cannot be used.
        sync: The sync scorer's logit; None of a clip of less than 0.8 s.
        event_f1: F1 of events seen and heard within 0.05 s; None of other clips than the embedded
            pair's.
        seen: Events in its pixels; None where nothing here can tell.
        heard: Onsets in its sound.
        issue: Why it has no score; "" if it has one.
    """

    path: Path
    caption: str
    logit: float | None = None
    sync: float | None = None
    event_f1: float | None = None
    seen: int | None = None
    heard: int | None = None
    issue: str = ""


def score(
    files: Sequence[Path], caption: str, system: JointSystem, app: AppConfig, *, embedded: bool
) -> Iterator[ScoredClip]:
    """Score clips one by one.

    Args:
        files: Clips, and the records of some of them, which hold their captions.
        caption: Caption of the clips without a record; may be empty.
        system: System whose discriminator scores.
        app: Options of the page.
        embedded: Whether it is the embedded pair.

    Raises:
        UserError: There are no clips or too many, or the system has no discriminator.
    """
    captions = _captions(files)
    clips = [one for one in files if one.suffix.lower() != ".json"]
    if not clips:
        raise UserError("there are no clips: choose video files with sound")
    if len(clips) > app.max_compared:
        raise UserError(f"{len(clips)} clips: compare at most {app.max_compared} at once")
    judges = Judges.of(system, sounding_objects=embedded)
    for path in clips:
        said = captions.get(path.stem, caption)
        try:
            for side in ("video", "audio"):
                expect_media(path, side, app)
            yield judges.score(path, said)
        except UserError as error:
            yield ScoredClip(path, said, issue=str(error).replace(str(path), path.name))


@dataclass(frozen=True)
class Judges:
    """What scores clips.

    Attributes:
        system: System that decides how a clip is read.
        model: Its base models, which encode a clip.
        discriminator: Its discriminator.
        scorer: Sync scorer.
        sounding_objects: Whether the clips show what the embedded pair makes.
    """

    system: JointSystem
    model: "JointModel"
    discriminator: "Discriminator"
    scorer: "SyncScorer"
    sounding_objects: bool

    @staticmethod
    def of(system: JointSystem, *, sounding_objects: bool) -> "Judges":
        """Load what is needed.

        Raises:
            UserError: The system has no discriminator, or files are missing.
        """
        from mmdisco.evaluation.metrics.sync.scorer import load_scorer

        discriminator = system.discriminator()
        return Judges(system, system.model(), discriminator, load_scorer(), sounding_objects)

    def score(self, path: Path, caption: str) -> ScoredClip:
        """Score a clip.

        Raises:
            UserError: It cannot be read.
        """
        import torch

        from mmdisco.app.inside import event_times
        from mmdisco.core.av import AV
        from mmdisco.core.noise import NoiseLevel
        from mmdisco.evaluation.metrics.sounding_objects.agreement import TIGHT, event_f1
        from mmdisco.media.conditioning_clip import (
            read_conditioning_audio,
            read_conditioning_video,
        )

        seen, _ = read_conditioning_video(path, self.system.form)
        heard, _ = read_conditioning_audio(path, self.system.form)
        z_0 = AV(self.model.encode_audio([heard]), self.model.encode_video([seen]))
        clean = NoiseLevel.clean(1)
        text = self.model.encode_prompts([caption]).map(lambda one: one.pooled)
        with torch.no_grad():
            logit = float(self.discriminator(z_0, AV(clean, clean), text)[0])
        clip = AudioVideo(heard, seen)
        events = event_times(clip, sounding_objects=self.sounding_objects)
        f1 = None
        if self.sounding_objects and events.seen is not None:
            f1 = event_f1(events.seen, events.heard, TIGHT)
        count = None if events.seen is None else len(events.seen)
        return ScoredClip(path, caption, logit, self._sync(clip), f1, count, len(events.heard))

    def _sync(self, clip: AudioVideo) -> float | None:
        from mmdisco.evaluation.metrics.sync.network import RATE
        from mmdisco.evaluation.metrics.sync.scorer import LEAST_STEPS, by_delay, embed

        if clip.video.seconds * RATE < LEAST_STEPS:
            return None
        return float(by_delay(*embed(self.scorer, clip), most=0)[1][0])


def _captions(files: Sequence[Path]) -> Mapping[str, str]:
    """Return the prompts of the records among the files, by the name of the clip."""
    found: dict[str, str] = {}
    for path in files:
        if path.suffix.lower() == ".json":
            prompt = read_object(path).get("prompt")
            if isinstance(prompt, str):
                found[path.stem] = prompt
    return found
