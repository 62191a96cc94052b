"""Conversion of YAML to a ``TrainingConfig`` and back. An error is one line that names the key."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from mmdisco.errors import UserError
from mmdisco.io.files import write_text
from mmdisco.io.yaml_files import parse_yaml, read_mapping
from mmdisco.training.config import TrainingConfig


def read_config(
    path: Path | None, given: Mapping[str, object], changes: Sequence[str] = ()
) -> TrainingConfig:
    """Read the configuration of a file, with changes.

    Args:
        path: YAML file; None for a configuration without one.
        given: Values by dotted key that replace those of the file; None leaves a value.
        changes: Further replacements as text, each ``key=value``, as in ``loss.denoising=100``.

    Raises:
        UserError: A key is unknown, a value has the wrong type or is out of its range, or the file
            is missing or no YAML.
    """
    config = TrainingConfig()
    if path is not None:
        config = TrainingConfig.of_tree(read_mapping(path), str(path))
    config = config.updated({key: one for key, one in given.items() if one is not None})
    return config.updated(parse_changes(changes))


def parse_changes(changes: Sequence[str]) -> dict[str, object]:
    """Parse changes as text, each ``key=value``, into values by dotted key.

    Raises:
        UserError: A change has another form, or its value is no YAML.
    """
    return dict(map(_change, changes))


def write_config(path: Path, config: TrainingConfig) -> None:
    """Write every setting, defaults too, as YAML."""
    write_text(path, yaml.safe_dump(config.tree(), sort_keys=False, allow_unicode=True))


def _change(change: str) -> tuple[str, object]:
    key, sign, value = change.partition("=")
    if not sign or not key.strip():
        raise UserError(f"setting {change!r}: write key=value, as in loss.denoising=100")
    return key.strip(), parse_yaml(value, f"setting {change[:80]!r}: the value")
