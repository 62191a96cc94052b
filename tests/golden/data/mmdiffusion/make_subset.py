"""Cuts the recordings of this folder out of the full folder: python make_subset.py FOLDER.

The names of files and tensors stay, so the same tests read either folder.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
# which tensors of a recording stay, by the beginnings of their names
KEPT = {
    "mmdiff_noise_schedule": [""],
    "mmdiff_unet_tail_nomiddle": ["video", "audio", "t", "out."],
    "mmdiff_guided_dpm_solver": ["x_T", "eval.", "step.", "final", "output", "unguided"],
    "mmdiff_image_sr": ["low_res", "noise", "output", "fwd."],
}
WEIGHTS = {
    "mmdiff_guided_dpm_solver_weights_unet": torch.float32,
    "mmdiff_guided_dpm_solver_weights_disc": torch.float32,
    "mmdiff_unet_tail_nomiddle_weights": torch.float16,
    "mmdiff_image_sr_weights_part0": torch.float16,
    "mmdiff_image_sr_weights_part1": torch.float16,
}


def main(full: Path) -> None:
    for name, beginnings in KEPT.items():
        tensors = load_file(full / f"{name}.safetensors")
        kept = {key: one for key, one in tensors.items() if key.startswith(tuple(beginnings))}
        save_file(kept, HERE / f"{name}.safetensors")
        shutil.copyfile(full / f"{name}.json", HERE / f"{name}.json")
    for name, dtype in WEIGHTS.items():
        tensors = load_file(full / f"{name}.safetensors")
        save_file(
            {key: one.to(dtype) for key, one in tensors.items()}, HERE / f"{name}.safetensors"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
