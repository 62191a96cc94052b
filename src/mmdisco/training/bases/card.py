"""Model card of own base models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from mmdisco.data.prepare.sources import TRAIN, VALIDATION
from mmdisco.data.prepared import PreparedFolder
from mmdisco.io.files import write_text
from mmdisco.io.reports import markdown_table, versions
from mmdisco.training.bases.config import BasesConfig

_HOUR: Final = 3600
_OWN: Final = ("source", "out", "captions")  # paths of one machine


def write_bases_card(
    path: Path,
    config: BasesConfig,
    clips: PreparedFolder,
    words: Sequence[str],
    durations: Mapping[str, float],
) -> None:
    """Write the card.

    Args:
        path: File to write.
        config: Configuration of the run.
        clips: The clips as they were encoded.
        words: Words that the pair knows.
        durations: CPU seconds by stage.
    """
    form, counts = config.form, {split: len(own) for split, own in clips.manifest.items()}
    hours = sum(counts.values()) * float(form.seconds) / _HOUR
    rows = [[stage, f"{seconds:,.0f}"] for stage, seconds in durations.items()]
    height, width = form.size
    head = yaml.safe_dump({"library_name": "mmdisco", "tags": ["audio", "video", "diffusion"]})
    text = f"""---
{head}---

# Two base models, trained by `mmdisco bases`

One makes sound and one makes video, each by itself: clips of {float(form.seconds):g} s,
{width}×{height} pixels at {float(form.fps):g} frames a second, sound at {form.sample_rate} Hz.
They know the world of their clips and nothing else.

```sh
mmdisco generate "…" --preset PAIR --no-joint-guidance
mmdisco prepare CLIPS --preset PAIR --captions … --out data
mmdisco sample-fakes data --out fakes
mmdisco train --data data --fakes fakes --out mine
mmdisco generate "…" --preset PAIR --discriminator mine
```

![Clips of held-out captions](samples/clips.png)

## Data

{counts[TRAIN]} clips to train on, {counts[VALIDATION]} held out, {hours:.2f} hours in all.
SHA-256 of the manifest: `{clips.fingerprint}`.

Known words: {", ".join(words)}.

## Cost

{markdown_table(("stage", "CPU seconds"), rows)}

Latents took {durations.get("latents", 0.0) / max(hours, 1e-9):,.0f} CPU seconds per hour of clips;
training costs the same for any number of clips. Parts that a kill cut off are not counted.

## Settings

```yaml
{yaml.safe_dump(_settings(config), sort_keys=False)}```

Versions: {", ".join(f"{name} {one}" for name, one in versions("mmdisco", "torch").items())}.
"""
    write_text(path, text)


def _settings(config: BasesConfig) -> dict[str, Any]:
    return {name: one for name, one in config.tree().items() if name not in _OWN}
