"""Latents and caption vectors of clips, by the models of a pair."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.errors import UserError
from mmdisco.media.clip import AudioVideo
from mmdisco.media.given import Form
from mmdisco.models import Conditioning, JointModel
from mmdisco.pair import Demand, Pair
from mmdisco.training.pairs import Pairs


class Encoder:
    """The encoders of a pair, loaded at the first use.

    Args:
        pair: Whose.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._model: JointModel | None = None
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    @property
    def form(self) -> Form:
        """The clips it takes."""
        return self._pair.form

    def expect(self) -> None:
        """Make sure that the models are here.

        Raises:
            UserError: Files are missing.
        """
        self._pair.expect(Demand("", guided=False, one_sided=False))

    def prompt(self, caption: str) -> str:
        """What is encoded for a caption: nothing where the pair understands no word of it."""
        return self._read(caption)[0]

    def notices(self, caption: str) -> tuple[str, ...]:
        """What of a caption the pair reads otherwise than it is written, a line each."""
        return self._read(caption)[1]

    def latents(self, clips: Sequence[AudioVideo]) -> AV[Tensor]:
        """Clean latents of clips of the form, batch first, float32, on the CPU."""
        with torch.no_grad():
            audio = self._loaded.encode_audio([clip.audio for clip in clips])
            video = self._loaded.encode_video([clip.video for clip in clips])
        return AV(audio.float().cpu(), video.float().cpu())

    def pairs(self, latents: Sequence[AV[Tensor]], captions: Sequence[str]) -> Pairs:
        """Latents of one clip each, with their captions encoded, each different one once."""
        prompts = [self.prompt(caption) for caption in captions]
        different = sorted(set(prompts))
        with torch.no_grad():
            encoded = self._loaded.encode_prompts(different)
        rows = torch.tensor([different.index(prompt) for prompt in prompts])

        def of(cond: Conditioning) -> Conditioning:
            native = tuple(one.cpu()[rows].contiguous() for one in cond.native)
            return Conditioning(cond.pooled.float().cpu()[rows].contiguous(), native)

        z_0 = AV(
            torch.stack([one.audio for one in latents]), torch.stack([one.video for one in latents])
        )
        return Pairs(z_0, encoded.map(of))

    @property
    def _loaded(self) -> JointModel:
        if self._model is None:
            self._model = self._pair.model()
        return self._model

    def _read(self, caption: str) -> tuple[str, tuple[str, ...]]:
        """What is encoded, and what there is to say of it."""
        if caption not in self._known:
            self._known[caption] = self._understood(caption)
        return self._known[caption]

    def _understood(self, caption: str) -> tuple[str, tuple[str, ...]]:
        if not caption.strip() or not self._pair.prompted:
            return "", ()
        try:
            notices = self._pair.expect(Demand(caption, guided=False, one_sided=False))
        except UserError:
            return "", ()
        return caption, tuple(notices)
