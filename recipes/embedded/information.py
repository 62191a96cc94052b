"""How much of what sound and picture say of each other a discriminator has learnt, by noise level.

On real pairs nothing was trained on, joint guidance lowers the error of the predicted noise. With
x_t = α x_0 + σ ε the mutual information is I = ½ ∫ E[‖ε − ε_base‖² − ‖ε − ε_joint‖²] d ln(α²/σ²)
(Guo et al. 2005, in units of ε), so the area under these curves is the part that was learnt, in
nats: what the audio's denoising gains from a clean video, and the other way round.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import torch
from train_discriminator import trained

from mmdisco.av import AV
from mmdisco.embedded.evaluation import HELD_OUT
from mmdisco.embedded.weights import Folder
from mmdisco.guidance import differentiate, guide
from mmdisco.objects.dataset import example
from mmdisco.pipeline import guided_base
from mmdisco.schedule import NoiseLevel

LEVELS = 12


def main() -> None:
    """Print one line per noise level, and both areas."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("--name", default="discriminator")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded/pair"))
    o = parser.parse_args()
    torch.set_num_threads(1)
    folder = Folder(o.folder)
    model = folder.model()
    base = guided_base(model, folder.sampling().guidance_scale)
    network = trained(o.name, o.weights)
    examples = [example(HELD_OUT, i) for i in range(o.clips)]
    z_0 = AV(
        model.encode_audio([e.clip.audio for e in examples]),
        model.encode_video([e.clip.video for e in examples]),
    )
    cond = model.encode_prompts([e.caption.text for e in examples])
    generator = torch.Generator().manual_seed(0)
    areas = {}
    for given in ("video", "audio"):
        made = "audio" if given == "video" else "video"
        schedule = getattr(model.schedules, made)
        gains, snrs = [], []
        for share in (torch.arange(LEVELS) + 0.5) / LEVELS:
            level = schedule.level((share * 999).double().expand(o.clips))
            clean = NoiseLevel.clean(o.clips)
            levels = AV(level, clean) if made == "audio" else AV(clean, level)
            x_0 = getattr(z_0, made)
            eps = torch.randn(x_0.shape, generator=generator)
            x_t = level.add_noise(x_0, eps)
            z_t = AV(x_t, z_0.video) if made == "audio" else AV(z_0.audio, x_t)
            with torch.no_grad():
                own = getattr(base.predict_noise(z_t, levels, cond), made)
            text = cond.map(lambda c: c.pooled)
            ratio = differentiate(partial(network, level=levels, text=text), z_t)
            guided = guide(own, getattr(ratio.gradient, made), level, torch.ones(o.clips))
            before = (eps - own).square().flatten(1).sum(1)
            after = (eps - guided).square().flatten(1).sum(1)
            gains.append((before - after).mean().item())
            snrs.append(level.log_snr[0].item())
            sys.stdout.write(
                f"given {given}: ln snr {snrs[-1]:6.2f}  error {before.mean():8.2f}  "
                f"gain {gains[-1]:7.3f}  logit {ratio.logit.mean():6.2f}\n"
            )
        area = -0.5 * torch.trapezoid(torch.tensor(gains), torch.tensor(snrs)).item()
        areas[f"nats given {given}"] = round(area, 3)
    sys.stdout.write(json.dumps(areas) + "\n")


if __name__ == "__main__":
    main()
