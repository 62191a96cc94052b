"""Cuts the small files of this folder out of the full folder of reference vectors.

python make_subset.py FOLDER
"""

import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).parent
RUN = "traj_audioldm_animatediff"
# what the tests of decoding and of video need of the run without a discriminator
KEPT = ("traj.video.", "traj.t.video", "emb.video", "final.", "decode.", "output.", "sched.")


def main(folder: Path) -> None:
    """Write trajectory, weights and spectrogram, one sample of each, without encoders."""
    run = load_file(folder / f"{RUN}_nojoint.safetensors")
    config = json.loads((folder / f"{RUN}_nojoint.json").read_text())
    tensors = {name: value for name, value in run.items() if name.startswith(KEPT)}
    tensors = {name: value for name, value in tensors.items() if "joint_noise" not in name}
    for name, value in tensors.items():
        if not name.startswith("sched."):
            batch = 1 if name.startswith("traj.") else 0
            tensors[name] = value.narrow(batch, 0, 1).contiguous()
    write(tensors, "run")
    (HERE / "run.json").write_text(json.dumps({"params": config["params"]}, indent=1) + "\n")
    for name in ("video_unet", "video_vae", "audio_dec"):
        weights = load_file(folder / f"{RUN}_weights_{name}.safetensors")
        encoders = ("vae.encoder.", "encoder.")
        needed = {key: one for key, one in weights.items() if not key.startswith(encoders)}
        write(needed, name)
    sound = load_file(folder / "auffusion_audio.safetensors")
    write({name: sound[name] for name in ("wav", "audioldm.log_mel")}, "mel")


def write(tensors: dict[str, Tensor], name: str) -> None:
    """Write one file, readable by all."""
    path = HERE / f"{name}.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
