"""Cuts the small files of this folder out of the full folder of reference vectors.

python make_subset.py FOLDER

The large random weights are not kept but drawn again: ``parameters.json.gz`` has the seed, and the
names and shapes in the order of the draw.
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
WEIGHTS = {
    "videocrafter": (4001, [*(f"unet_part{part}" for part in range(3)), "first_stage"]),
    RUN: (2010, ["vc_unet_part0", "vc_unet_part1", "vc_rest"]),
}
NOT_KEPT = ("internals.", "sampling_scheduler.", "traj.disc.prob", "traj.disc.logit")


def main(folder: Path) -> None:
    """Write inputs and outputs, and how to draw the weights."""
    write(load_file(folder / "videocrafter.safetensors"), "videocrafter")
    run = load_file(folder / f"{RUN}.safetensors")
    write({key: one for key, one in run.items() if "video" in key or key == "sched.timesteps"}, RUN)
    write(load_file(folder / "openclip_text.safetensors"), "openclip_text")
    record = json.loads((folder / "openclip_text.json").read_text())
    settings({"text_cfg": record["text_cfg"]}, "openclip_text")
    config = json.loads((folder / "videocrafter.json").read_text())["config"]
    settings({"config": trimmed(config)}, "videocrafter")
    params = json.loads((folder / f"{RUN}.json").read_text())["params"]
    scales = ("pair", "steps", "joint_num_steps", "joint_scale_video", "v_scale")
    kept = {key: params[key] for key in scales} | {"vc": trimmed(params["vc"])}
    settings({"params": kept}, RUN)
    texts = record["tokenize.texts"]
    (HERE / "texts.json").write_text(json.dumps(texts, ensure_ascii=False, indent=1) + "\n")
    parameters = {
        name: {"seed": seed, "shapes": shapes(folder, name, files)}
        for name, (seed, files) in WEIGHTS.items()
    }
    pack(parameters, HERE / "parameters.json.gz")


def trimmed(config: dict[str, Any]) -> dict[str, Any]:
    """The shapes of a configuration of the release."""
    unet = config["params"]["unet_config"]["params"]
    images = config["params"]["first_stage_config"]["params"]["ddconfig"]
    return {
        "params": {
            "unet_config": {"params": unet},
            "first_stage_config": {"params": {"ddconfig": images}},
        }
    }


def settings(record: dict[str, Any], name: str) -> None:
    """Write the shapes and scales that the tests read."""
    (HERE / f"{name}.json").write_text(f"{json.dumps(record, indent=1)}\n")


def shapes(folder: Path, name: str, files: list[str]) -> dict[str, list[int]]:
    """Names and shapes of the parameters, without the tables of the schedule."""
    found: dict[str, list[int]] = {}
    for file in files:
        listed = json.loads((folder / f"{name}_weights_{file}.json").read_text())["tensors"]
        found |= {key: one["shape"] for key, one in listed.items() if "." in key}
    return found


def pack(value: Any, path: Path) -> None:
    """Write compressed JSON, the same bytes every time."""
    path.write_bytes(gzip.compress(json.dumps(value, separators=(",", ":")).encode(), mtime=0))


def write(tensors: dict[str, Tensor], name: str) -> None:
    """Write one file, readable by all."""
    path = HERE / f"{name}.safetensors"
    kept = {key: one.contiguous() for key, one in tensors.items() if not key.startswith(NOT_KEPT)}
    save_file(kept, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
