"""Cuts the small files of this folder out of the full folder of reference vectors.

python make_subset.py FOLDER

The denoiser's random weights are not kept but drawn again: ``parameters.json.gz`` has the seed, and
the names and shapes in the order of the draw.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).parent
RUN = "traj_auffusion_videocrafter"
UNET_SEED = 2004
NOT_KEPT = (
    "wav",
    "audioldm.",
    "auffusion.vae_input_first128",
    "auffusion.silence_shape",
    "vocoder.int16",
    "vocoder.wav_after",
    "traj.disc.prob",
    "traj.disc.logit",
)
SETTINGS = (
    "vocoder_config",
    "adapter_config",
    "pair",
    "steps",
    "joint_num_steps",
    "joint_scale_audio",
    "a_scale",
    "a_sched",
    "a_unet",
    "a_vae",
    "vocoder",
    "embs",
)


def main(folder: Path) -> None:
    """Write inputs and outputs, small weights, and how to draw the others."""
    sound = load_file(folder / "auffusion_audio.safetensors")
    sound["auffusion.spec_01"] = sound["auffusion.spec_01"][:1]
    write(sound, "auffusion_audio")
    run = load_file(folder / f"{RUN}.safetensors")
    kept = {key: one for key, one in run.items() if "audio" in key}
    write({**kept, **{key: run[key] for key in ("sched.timesteps", "zero_emb")}}, RUN)
    write(load_file(folder / f"{RUN}_weights_audio_dec.safetensors"), f"{RUN}_weights_audio_dec")
    sounds = json.loads((folder / "auffusion_audio.json").read_text())
    (HERE / "auffusion_audio.json").write_text(f"{json.dumps(of(sounds), indent=1)}\n")
    params = json.loads((folder / f"{RUN}.json").read_text())["params"]
    (HERE / f"{RUN}.json").write_text(f"{json.dumps({'params': of(params)}, indent=1)}\n")
    listed = json.loads((folder / f"{RUN}_weights_audio_unet.json").read_text())["tensors"]
    shapes = {key: one["shape"] for key, one in listed.items()}
    drawn = json.dumps({"seed": UNET_SEED, "shapes": shapes}, separators=(",", ":"))
    (HERE / "parameters.json.gz").write_bytes(gzip.compress(drawn.encode(), mtime=0))


def of(record: dict[str, Any]) -> dict[str, Any]:
    """The shapes, schedules and scales that the tests read."""
    return {key: record[key] for key in SETTINGS if key in record}


def write(tensors: dict[str, Tensor], name: str) -> None:
    """Write one file, readable by all."""
    path = HERE / f"{name}.safetensors"
    kept = {key: one.contiguous() for key, one in tensors.items() if not key.startswith(NOT_KEPT)}
    save_file(kept, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
