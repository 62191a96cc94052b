"""Names and shapes of the published weights."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from mmdisco.discriminators.official.checkpoint import empty, published, released_name
from mmdisco.discriminators.official.config import PUBLISHED

FULL = os.environ.get("MMDISCO_GOLDEN")
# beginning of the SHA-256 of the sorted lines "name size size …" of the weights,
# sizes of 1 left out
LISTINGS = {
    "audioldm_animediff_vggsound": "84b15e77fd86cb5bbd1284e37b844800",
    "auffusion_videocrafter2_vggsound": "6467c7161f879ae4707861a1d92ff190",
    "mmdiffusion_aist++": "21c3cafe1a796d92bbf3a9baf7d377a9",
    "mmdiffusion_landscape": "21c3cafe1a796d92bbf3a9baf7d377a9",
}


def without_ones(shape):
    return [size for size in shape if size != 1]


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_are_those_of_the_published_weights(name):
    weights = empty(PUBLISHED[name]).state_dict()
    lines = sorted(
        " ".join([released_name(key), *map(str, without_ones(value.shape))])
        for key, value in weights.items()
    )
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32] == LISTINGS[name]


@pytest.mark.skipif(not FULL, reason="set MMDISCO_GOLDEN to the folder of all recordings")
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_state_dict_of_the_published_table_is_taken_whole(name):
    table = Path(FULL).parent / "tables" / f"discriminator_{name}.json"
    listed = json.loads(table.read_text())["state_dict"]
    weights = {key: torch.zeros(one["shape"]) for key, one in listed.items()}
    assert len(published(PUBLISHED[name]).translate(weights, Path("table"))) == len(listed)
