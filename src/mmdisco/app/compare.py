"""Scores of clips that are uploaded: how well sound and picture belong together.

A clip is read as a given file is, up to the length of the preset's clips, and encoded; the score is
the discriminator's logit of both clean latents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdisco.app.config import AppConfig
from mmdisco.app.requests import expect_media
from mmdisco.errors import UserError
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object


@dataclass(frozen=True)
class ScoredClip:
    """An uploaded clip and its score.

    Attributes:
        path: Its file.
        caption: Caption that the score is for.
        logit: The discriminator's logit; None where the clip cannot be used.
        seen: Events in its pixels; None where nothing here can tell.
        heard: Onsets in its sound.
        issue: Why it has no score; "" if it has one.
    """

    path: Path
    caption: str
    logit: float | None = None
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
    for path in clips:
        said = captions.get(path.stem, caption)
        try:
            yield _scored(path, said, system, app, embedded=embedded)
        except UserError as error:
            yield ScoredClip(path, said, issue=str(error).replace(str(path), path.name))


def _scored(
    path: Path, caption: str, system: JointSystem, app: AppConfig, *, embedded: bool
) -> ScoredClip:
    import torch

    from mmdisco.app.inside import event_times
    from mmdisco.core.av import AV
    from mmdisco.core.noise import NoiseLevel
    from mmdisco.media.clip import AudioVideo
    from mmdisco.media.conditioning_clip import read_conditioning_audio, read_conditioning_video

    for side in ("video", "audio"):
        expect_media(path, side, app)
    model, discriminator = system.model(), system.discriminator()
    seen, _ = read_conditioning_video(path, system.form)
    heard, _ = read_conditioning_audio(path, system.form)
    z_0 = AV(model.encode_audio([heard]), model.encode_video([seen]))
    clean = NoiseLevel.clean(1)
    text = model.encode_prompts([caption]).map(lambda one: one.pooled)
    with torch.no_grad():
        logit = float(discriminator(z_0, AV(clean, clean), text)[0])
    events = event_times(AudioVideo(heard, seen), sounding_objects=embedded)
    count = None if events.seen is None else len(events.seen)
    return ScoredClip(path, caption, logit, count, len(events.heard))


def _captions(files: Sequence[Path]) -> Mapping[str, str]:
    """Return the prompts of the records among the files, by the name of the clip."""
    found: dict[str, str] = {}
    for path in files:
        if path.suffix.lower() == ".json":
            prompt = read_object(path).get("prompt")
            if isinstance(prompt, str):
                found[path.stem] = prompt
    return found
