"""Packs the trained pair and its discriminator into the folder that ships as the preset ``game``.

Run after ``run.py``: ``python recipes/game/ship.py --out runs/game``. Everything is kept in half
precision; generation begins with the scales that ``measure.py`` chose.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from make_clips import SECONDS

from mmdisco.adapters.miniature import GAME_WEIGHTS
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.io.files import read_object, read_tensors, write_text
from mmdisco.training.bases.pair import pack

LICENCE: Final = {"license": "apache-2.0"}
CARD: Final = """---
license: apache-2.0
---

# The game's pair

Weights of two miniature latent diffusion models, of {seconds:.2f} s of sound and of picture, and of
their discriminator, for a world that nobody here made: scenarios of ViZDoom (MIT) with pictures and
recorded sounds of Freedoom (BSD 3-clause). Single parts as safetensors in half precision; shapes,
words, settings and checksums in `config.json`. What they were trained on, how to make them again,
and what they reach: `docs/game.md` in the repository. No clip of the game is contained.

```sh
mmdisco generate "a pistol fires, a round arena" --preset game
```

Known words: {words}.
"""


def ship(run: Path, folder: Path) -> None:
    """Pack what a run has trained into ``folder``."""
    config = read_object(run / "pair" / "config.json")
    trained = PretrainedDiscriminator.load(run / "discriminator").network
    networks = {
        name: read_tensors(run / "pair" / f"{name}.safetensors") for name in config.pop("sha256")
    }
    networks["discriminator"] = trained.state_dict()
    config["discriminator"] = trained.config.to_record()
    config["sampling"] |= chosen_scales(read_object(run / "evaluation" / "scales.json"))
    pack(networks, config, folder, LICENCE)
    known = {"seconds": float(SECONDS), "words": ", ".join(config["words"])}
    write_text(folder / "README.md", CARD.format(**known))


def chosen_scales(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of generation that ``measure.py`` chose."""
    joint = record["joint"]
    return {
        "joint_scale": [joint["audio"], joint["video"]],
        "video_to_audio": record["to_audio"],
        "audio_to_video": record["to_video"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pack the game's pair.")
    parser.add_argument("--out", type=Path, default=Path("runs/game"))
    parser.add_argument("--folder", type=Path, default=GAME_WEIGHTS)
    options = parser.parse_args()
    ship(options.out, options.folder)
