"""Metadata of a clip, written as JSON beside it: enough to make the clip again.

Knows requests and files; samples nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.discriminators.hub import find_discriminator
from mmdisco.errors import UserError
from mmdisco.generation.generate import PreparedGeneration, Request
from mmdisco.generation.machine import device_name, libraries
from mmdisco.generation.presets.discriminators import WithDiscriminator
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.presets.registry import DEFAULT, preset
from mmdisco.generation.system import JointSystem, levels_of, levels_record
from mmdisco.io.files import read_object, sha256

MAKER: Final = "mmdisco generate"
LIBRARIES: Final = ("mmdisco", "torch", "diffusers", "transformers", "numpy", "scipy", "av")


@dataclass(frozen=True)
class PresetChoice:
    """Choice of the system that makes a clip.

    Attributes:
        preset: Name of the preset.
        options: Options it is built with.
        as_released: Whether it runs as the released code does.
        discriminator: Folder or hub id of a discriminator that replaces the preset's.
    """

    preset: str = DEFAULT
    options: BuildOptions = field(default_factory=BuildOptions)
    as_released: bool = False
    discriminator: str | None = None

    def pair(self) -> JointSystem:
        """Return the system, nothing loaded yet.

        Raises:
            UserError: There is no such preset, or it has no such option.
        """
        mended = preset(self.preset)
        chosen = mended.as_released() if self.as_released else mended
        pair = chosen.pair(self.options)
        if self.discriminator is None:
            return pair
        return WithDiscriminator(pair, find_discriminator(self.discriminator), self.options)


@dataclass(frozen=True)
class Environment:
    """Everything that decides a clip beside its request.

    Attributes:
        versions: Versions of the libraries, the encoder's among them.
        threads: Number of threads of the arithmetic; another number rounds differently.
        machine: Processor or device, with its instructions; empty where a record does not say.
        weights: Checksums of the weights by name.
        given: SHA-256 of the given file, if there is one.
    """

    versions: Mapping[str, str]
    threads: int
    machine: str
    weights: Mapping[str, str]
    given: str | None

    @staticmethod
    def of(request: Request, pair: JointSystem, device: torch.device) -> "Environment":
        """Record the present environment.

        Raises:
            UserError: The given file cannot be read.
        """
        return Environment(
            versions=libraries(*LIBRARIES),
            threads=torch.get_num_threads(),
            machine=device_name(device),
            weights=pair.weight_hashes(),
            given=None if request.given is None else sha256(request.given),
        )


@dataclass(frozen=True)
class ClipMetadata:
    """Contents of a record.

    Attributes:
        choice: Choice of the system; its folder of weights is not part of a record.
        request: Request of the whole batch, with every setting in it.
        sample: Index in the batch of the sample that the record describes, from 0.
        surroundings: Environment in which the clip was made.
    """

    choice: PresetChoice
    request: Request
    sample: int
    surroundings: Environment

    def changes(self, now: Environment) -> str | None:
        """Describe in one line what differs from when the clip was made; None if nothing does.

        Raises:
            UserError: The given file has changed, so the clip cannot be made again.
        """
        then = self.surroundings
        if then.given != now.given:
            raise UserError(
                f"{self.request.given} has changed since: this clip cannot be made again"
            )
        others = [
            f"{name} was {old} and is {now.versions.get(name)}"
            for name, old in then.versions.items()
            if now.versions.get(name) != old
        ]
        if then.threads != now.threads:
            others.append(
                f"threads were {then.threads} and are {now.threads} (give --threads {then.threads})"
            )
        if then.machine not in ("", now.machine):
            others.append(f"computed on {then.machine!r} and now on {now.machine!r}")
        if then.weights != now.weights:
            others.append("the weights are of another version")
        if not others:
            return None
        return f"the clip may come out otherwise: {'; '.join(others)}"


def to_metadata(
    prepared: PreparedGeneration,
    choice: PresetChoice,
    surroundings: Environment,
    sample: int,
    seconds: float,
) -> dict[str, Any]:
    """Build the record of one sample, for JSON.

    Args:
        prepared: The run.
        choice: Choice of the system.
        surroundings: Environment of the run.
        sample: Index of the sample in the batch, from 0.
        seconds: Duration of the whole batch.
    """
    request, sampling = prepared.request, prepared.sampling
    given = request.given
    return {
        "made_by": MAKER,
        "versions": dict(surroundings.versions),
        "threads": surroundings.threads,
        "machine": surroundings.machine,
        "preset": choice.preset,
        "as_released": choice.as_released,
        "options": choice.options.to_record(),
        "discriminator": choice.discriminator,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "batched_prompts": request.batched_cfg,
        "seed": prepared.seeds[sample],
        "sample": sample,
        "samples": request.samples,
        "task": request.task,
        "given": given and {"path": str(given.resolve()), "sha256": surroundings.given},
        "audio_track": request.audio_track,
        "start": float(request.start),
        "steps": sampling.steps,
        "scheduler": sampling.solver,
        "guidance_scale": _sides(sampling.guidance_scale),
        "joint_scale": _sides(sampling.joint_scale),
        "joint_levels": levels_record(sampling.joint_levels),
        "guidance_every": sampling.guidance_every,
        "resamples": request.resamples,
        "weights": dict(surroundings.weights),
        "seconds": round(seconds, 2),
    }


def read_record(path: Path, weights: Path | None = None) -> ClipMetadata:
    """Read a record that ``to_metadata`` built.

    Args:
        path: The file.
        weights: Folder of weights, which a record does not name.

    Raises:
        UserError: The file cannot be read, or is no record.
    """
    values = read_object(path)
    try:
        if values["made_by"] != MAKER:
            raise ValueError(values["made_by"])
        task, given = values["task"], values["given"]
        file = None if given is None else Path(given["path"])
        sample, samples = int(values["sample"]), int(values["samples"])
        if sample not in range(samples) or (file is None) != (task == "joint"):
            raise ValueError(task)
        prompt = values["prompt"]
        return ClipMetadata(
            choice=_choice(values, weights),
            request=Request(
                prompt=None if prompt is None else str(prompt),
                seed=int(values["seed"]) - sample,
                samples=samples,
                video=file if task == "video to audio" else None,
                audio=file if task == "audio to video" else None,
                audio_track=_track(values.get("audio_track")),
                start=Fraction(float(values.get("start", 0))).limit_denominator(1_000_000),
                joint_scale=_both(values["joint_scale"]),
                joint_levels=levels_of(values["joint_levels"]),
                guidance_every=int(values.get("guidance_every", 1)),
                guidance_scale=_both(values["guidance_scale"]),
                steps=int(values["steps"]),
                scheduler=str(values["scheduler"]),
                negative_prompt=str(values.get("negative_prompt", "")),
                batched_cfg=bool(values.get("batched_prompts", False)),
                resamples=int(values.get("resamples", 0)),
            ),
            sample=sample,
            surroundings=Environment(
                versions=dict(values["versions"]),
                threads=int(values["threads"]),
                machine=str(values.get("machine", "")),
                weights=dict(values["weights"]),
                given=None if given is None else str(given["sha256"]),
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(
            f"{path} is no record of a clip: give the .json file that lies beside one"
        ) from error


def _choice(values: Mapping[str, Any], weights: Path | None) -> PresetChoice:
    # records from before there were presets do not name one
    options = values.get("options")
    return PresetChoice(
        preset=str(values.get("preset", DEFAULT)),
        options=BuildOptions(weights)
        if options is None
        else BuildOptions.from_record(options, weights),
        as_released=bool(values.get("as_released", False)),
        discriminator=values.get("discriminator"),
    )


def _track(value: Any) -> int | None:
    return None if value is None else int(value)


def _sides(scale: AV[float]) -> dict[str, float]:
    return {"audio": scale.audio, "video": scale.video}


def _both(record: Mapping[str, float]) -> AV[float]:
    return AV(float(record["audio"]), float(record["video"]))
