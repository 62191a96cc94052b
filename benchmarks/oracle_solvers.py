"""The exact log ratio with every solver in few steps, and under the contrastive loss.

Run ``python benchmarks/oracle_solvers.py --out docs/toy/oracle_solvers.json``: prints two Markdown
tables, and writes them beside the JSON. Guided samples are held against those of the joint model
itself, from the same noise; and at the exact log ratio h the slope of the contrastive loss is
taken along its own scale, which is 0 where h minimises the loss.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmdisco import (
    AV,
    Conditioning,
    ConstantScale,
    IndependentDenoisers,
    JointGuidance,
    NoiseLevel,
    NoiseSource,
    SameTimestep,
    Sampler,
    each,
    solver,
)
from mmdisco.core.noise import linear
from mmdisco.core.sampler import LogSNRSpacing
from mmdisco.experiments.toy.problems import (
    ExactLogRatio,
    JointMixtureDenoiser,
    MixtureDenoiser,
    ToyProblem,
    problem,
)
from mmdisco.io.files import write_json, write_text
from mmdisco.io.reports import markdown_table, versions

SEED = 0
STEPS = 8
SAMPLES = 256
PAIRS = 4000
PROBLEM = "mixture"
SETTINGS = ("ind", "ood")
ORDERS = {
    "ddim": "first",
    "euler": "first",
    "flow-euler": "first",
    "ddpm": "first, adds noise",
    "euler-ancestral": "first, adds noise",
    "dpm++2m": "second",
    "sde-dpm++2m": "second, adds noise",
    "unipc": "second",
    "dpm++3m": "third",
}
PATH = SameTimestep(AV(linear(), linear()))


def largest_error(goal: ToyProblem, name: str, dtype: torch.dtype) -> float:
    """Largest difference of guided samples from those of the joint model."""
    bases = goal.bases.map(lambda law: MixtureDenoiser(law, linear()))
    scale = AV(ConstantScale(), ConstantScale())
    ratio = ExactLogRatio(goal.joint, goal.bases)
    denoisers = (
        JointGuidance(IndependentDenoisers(bases), ratio, scale),
        JointMixtureDenoiser(goal.joint),
    )
    sampler = Sampler(PATH, AV(solver(name), solver(name)), STEPS, LogSNRSpacing())
    shape, none = torch.Size([SAMPLES, 1]), Conditioning.none(SAMPLES)
    ends: list[AV[Tensor]] = []
    for denoiser in denoisers:
        noise = NoiseSource.from_seeds([SEED])
        z_T = sampler.initial(noise, AV(shape, shape)).map(lambda x: x.to(dtype))
        ends.append(sampler.sample(denoiser, z_T, AV(none, none), noise))
    apart = each(torch.sub, *ends)
    return max(float(apart.audio.abs().max()), float(apart.video.abs().max()))


def slope(goal: ToyProblem) -> tuple[float, float]:
    """Slope of the contrastive loss of s h at s = 1, and its standard error."""
    generator = torch.Generator().manual_seed(SEED)
    z_0 = goal.split(goal.joint.sample(PAIRS, generator))
    levels = PATH.levels(torch.rand(PAIRS, generator=generator, dtype=torch.float64))
    eps = z_0.map(lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype))
    z_t = each(NoiseLevel.add_noise, levels, z_0, eps)
    # the other of a negative pair is noised to the level of its partner, as in a group
    other = z_0.video[torch.randperm(PAIRS, generator=generator)]
    negative = AV(z_t.audio, levels.video.add_noise(other, eps.video))
    ratio, text = ExactLogRatio(goal.joint, goal.bases), z_0.map(lambda x: x[:, :0])
    h, h_negative = ratio(z_t, levels, text), ratio(negative, levels, text)
    scale = torch.ones(PAIRS, dtype=torch.float64, requires_grad=True)
    loss = softplus(-scale * h) + softplus(scale * h_negative)
    (slopes,) = torch.autograd.grad(loss.sum(), scale)
    return float(slopes.mean()), float(slopes.std() / PAIRS**0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/oracle_solvers.json"))
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    goals = {setting: problem(PROBLEM, setting) for setting in SETTINGS}
    types = {"float32": torch.float32, "float64": torch.float64}
    solvers = [
        {
            "scheduler": name,
            "order": order,
            **{
                f"{setting} {size}": largest_error(goal, name, dtype)
                for setting, goal in goals.items()
                for size, dtype in types.items()
            },
        }
        for name, order in ORDERS.items()
    ]
    slopes = {setting: slope(goal) for setting, goal in goals.items()}
    made_with = versions("mmdisco", "torch", "diffusers")
    counts = {"seed": SEED, "steps": STEPS, "samples": SAMPLES, "pairs": PAIRS, "problem": PROBLEM}
    write_json(out, {**counts, "versions": made_with, "solvers": solvers, "slopes": slopes})
    rows = [
        [one if isinstance(one, str) else f"{one:.0e}" for one in row.values()] for row in solvers
    ]
    ends = [[name, f"{mean:+.3f}", f"{error:.3f}"] for name, (mean, error) in slopes.items()]
    said = ", ".join(f"{name} {one}" for name, one in (counts | made_with).items())
    text = (
        "# The exact log ratio in few steps, and under contrast\n\n"
        f"{markdown_table(list(solvers[0]), rows)}\n\n"
        f"Largest difference of {SAMPLES} guided samples from those of the joint model from the "
        f"same noise, after {STEPS} steps on a grid even in log-SNR.\n\n"
        f"{markdown_table(['setting', 'slope of the contrastive loss', 'standard error'], ends)}"
        f"\n\nThe slope along the scale s of s h, at s = 1, over {PAIRS} positive and as many "
        "negative pairs. It is 0 where the exact h minimises the loss: in distribution, where "
        "shuffled real pairs are pairs of the bases. Out of distribution contrast alone would "
        "teach another ratio, q(x, y) / q(x) q(y), which knows nothing of the bases' marginals.\n\n"
        f"Conditions: {said}.\n"
    )
    write_text(out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
