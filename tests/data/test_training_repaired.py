import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import RecombinedWithinCaption, rows_by_key

KEYS = ["red", "blue", "red", "blue", "red"]


def numbered(count: int) -> Pairs:
    """Pairs whose latents are their row; captions too."""
    rows = torch.arange(float(count))[:, None]
    return Pairs(AV(rows, 100 + rows), AV(Conditioning(rows), Conditioning(rows)))


def test_halves_and_captions_come_from_one_group_and_all_of_it(generator):
    drawn = RecombinedWithinCaption.of(numbered(5), KEYS).draw(400, generator)
    heard, seen = drawn.z_0.audio[:, 0].long(), drawn.z_0.video[:, 0].long() - 100
    told = drawn.cond.audio.pooled[:, 0].long()
    assert torch.equal(told, drawn.cond.video.pooled[:, 0].long())
    triples = {tuple(one) for one in torch.stack([heard, seen, told], 1).tolist()}
    assert triples == {
        (a, v, c)
        for a in range(5)
        for v in range(5)
        for c in range(5)
        if KEYS[a] == KEYS[v] == KEYS[c]
    }


def test_captions_are_as_likely_as_where_they_come_from(generator):
    captions = numbered(8).cond
    asked = ["red"] * 7 + ["blue"]
    source = RecombinedWithinCaption.with_captions(numbered(5), rows_by_key(KEYS), captions, asked)
    drawn = source.draw(4000, generator)
    told = drawn.cond.audio.pooled[:, 0].long()
    shares = torch.bincount(told, minlength=8) / 4000
    assert_close(shares, torch.full((8,), 1 / 8), rtol=0.24)
    heard = drawn.z_0.audio[:, 0].long()
    assert {KEYS[row] for row in heard[told == 7].tolist()} == {"blue"}
    assert {KEYS[row] for row in heard[told < 7].tolist()} == {"red"}
