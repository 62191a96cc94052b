"""A trained discriminator as a folder: ``config.json``, ``model.safetensors`` and a model card.

The same three files lie on the Hugging Face hub. Independent of training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.utils import validate_repo_id

from mmdisco.core.av import AV
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.bounds import expect_fitting_file
from mmdisco.io.files import read_object, read_tensors, sha256, write_json, write_tensors

KIND: Final = "mmdisco discriminator"
WEIGHTS: Final = "model.safetensors"
FILES: Final = ("config.json", WEIGHTS, "distilled.*", "README.md", "*.png")
"""Files that are uploaded to the hub; a run's checkpoints and logs are not."""


@dataclass(frozen=True)
class PretrainedDiscriminator:
    """A trained network and its metadata.

    Attributes:
        network: The frozen network.
        preset: The preset whose pairs it was trained on.
        facts: Further fields of ``config.json``: how it was trained, and its scores.
    """

    network: AudioVideoDiscriminator
    preset: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def save(self, folder: Path) -> None:
        """Write weights, then the configuration, which marks the folder as complete.

        Raises:
            UserError: The folder cannot be written.
        """
        weights = {name: one.cpu() for name, one in self.network.state_dict().items()}
        write_tensors(folder / WEIGHTS, weights, {"kind": KIND})
        record = {
            "kind": KIND,
            "preset": self.preset,
            "discriminator": self.network.config.to_record(),
            "sha256": sha256(folder / WEIGHTS),
            **self.facts,
        }
        write_json(folder / "config.json", record)

    @staticmethod
    def load(folder: Path) -> "PretrainedDiscriminator":
        """Read a folder that ``save`` wrote.

        Raises:
            UserError: The folder is of another kind, or its weights are damaged.
        """
        record = read_config(folder)
        config = AudioVideoConfig.from_record(record["discriminator"])
        expect_fitting_file(lambda: AudioVideoDiscriminator(config), folder / WEIGHTS)
        if sha256(folder / WEIGHTS) != record["sha256"]:
            raise UserError(
                f"{folder / WEIGHTS} is damaged: its checksum is not the one in config.json; train "
                "or download it again"
            )
        network = AudioVideoDiscriminator(config)
        try:
            network.load_state_dict(read_tensors(folder / WEIGHTS))
        except RuntimeError as error:
            raise UserError(f"{folder / WEIGHTS} holds another network than config.json") from error
        known = ("kind", "preset", "discriminator", "sha256")
        facts = {name: value for name, value in record.items() if name not in known}
        frozen = network.eval().requires_grad_(False)  # noqa: FBT003
        return PretrainedDiscriminator(frozen, str(record["preset"]), facts)

    @staticmethod
    def from_pretrained(name: str | Path, revision: str | None = None) -> "PretrainedDiscriminator":
        """Load a discriminator from a folder, or from an id on the hub.

        Raises:
            UserError: Neither exists.
        """
        return PretrainedDiscriminator.load(find_discriminator(name, revision))

    @staticmethod
    def push_to_hub(folder: Path, repository: str, *, private: bool = False) -> str:
        """Upload a folder to the hub, as the user who is logged in there.

        Args:
            folder: A folder that ``save`` wrote.
            repository: Its id, ``owner/name``; created if it does not exist.
            private: Whether a new repository is private.

        Returns:
            The address of the commit.

        Raises:
            UserError: The folder holds no discriminator, or the hub refuses.
        """
        PretrainedDiscriminator.load(folder)
        return upload_folder(folder, repository, private=private, files=FILES)


def upload_folder(
    folder: Path, repository: str, *, private: bool = False, files: Sequence[str] | None = None
) -> str:
    """Upload a folder to a repository of the hub, created if needed; return the commit's address.

    Raises:
        UserError: The hub refuses.
    """
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=_patterns(files),
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"the hub did not take {repository}: {_line(error)}") from error
    return str(commit.commit_url)


def expect_repository(name: str) -> None:
    """Check, before work is spent on it, that a repository of the hub can have this name.

    Raises:
        UserError: It cannot.
    """
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{name!r} is no id of the hub: give owner/name, of letters, digits, '-', '_' and '.'"
        ) from error


def read_config(folder: Path) -> Mapping[str, Any]:
    """Read ``config.json`` of a discriminator's folder.

    Raises:
        UserError: It is missing, or describes something else.
    """
    record: Any = read_object(folder / "config.json")
    keys = {"preset", "discriminator", "sha256"}
    if record.get("kind") != KIND or not record.keys() >= keys:
        raise UserError(
            f"{folder} holds no trained discriminator: give a folder that `mmdisco train` finished"
        )
    return record


def find_discriminator(name: str | Path, revision: str | None = None) -> Path:
    """Return a discriminator's local folder of this name, or else one downloaded from the hub.

    Raises:
        UserError: Neither exists.
    """
    return find_folder(name, revision, FILES)


def find_folder(
    name: str | Path, revision: str | None = None, files: Sequence[str] | None = None
) -> Path:
    """Return a local folder of this name, or else one downloaded from the hub.

    Raises:
        UserError: Neither exists.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        return Path(
            snapshot_download(str(name), revision=revision, allow_patterns=_patterns(files))
        )
    except HFValidationError as error:
        raise UserError(f"{name} is no folder, and no id of the hub either") from error
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise UserError(f"{name} is no folder, and the hub gives none: {_line(error)}") from error


def check_pair(
    record: Mapping[str, Any], pair: Mapping[str, Mapping[str, str]], name: str | Path
) -> None:
    """Check that a discriminator was trained for two models.

    Args:
        record: Its ``config.json``.
        pair: What names the two, by side: ``model``, ``pipeline`` and the ``sha256`` of its
            weights; empty where a preset names them.
        name: Name of the discriminator, for the message.

    Raises:
        UserError: It was trained for others, which neither an id nor the weights show to be these.
    """
    trained: Any = record.get("models") or {}
    same = pair.keys() == trained.keys() and all(
        any(trained[side].get(key) == now[key] for key in ("model", "sha256"))
        for side, now in pair.items()
    )
    if pair and trained and not same:
        raise UserError(
            f"{name} was trained for {_pair(trained)}, not for {_pair(pair)}: give one that was "
            "trained for these"
        )


def _pair(models: Mapping[str, Mapping[str, str]]) -> str:
    return " with ".join(
        f"{one['model']} ({one['pipeline']})" for _, one in sorted(models.items(), reverse=True)
    )


def check_fitting(
    config: AudioVideoConfig, shapes: AV[torch.Size], texts: AV[int], name: str
) -> None:
    """Check that a discriminator fits the latents and captions of a pair of base models.

    Args:
        config: Configuration of the discriminator.
        shapes: Shapes of one sample's latents, without the batch.
        texts: Width of either side's pooled captions.
        name: Name of the preset, for the message.

    Raises:
        UserError: It does not fit.
    """
    for side, own, shape, text in (
        ("sound", config.audio, shapes.audio, texts.audio),
        ("video", config.video, shapes.video, texts.video),
    ):
        if not own.fits(shape):
            raise UserError(
                f"this discriminator reads {own}, and {name} makes {side} latents of "
                f"{tuple(shape)}: give one that was trained for it"
            )
        if own.text_width != text:
            raise UserError(
                f"this discriminator reads {side} captions of width {own.text_width}; {name} gives "
                f"{text}: give one that was trained for it"
            )


def _line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _patterns(files: Sequence[str] | None) -> list[str] | None:
    return None if files is None else list(files)
