"""Conversion of YAML to a ``TrainingConfig`` and back. An error is one line that names the key."""

import dataclasses
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from mmdisco.errors import UserError
from mmdisco.io.files import write_text
from mmdisco.io.yaml_files import parse_yaml, read_mapping
from mmdisco.training.config import TrainingConfig

Tree = dict[str, Any]


def read_config(
    path: Path | None, given: Mapping[str, object], changes: Sequence[str] = ()
) -> TrainingConfig:
    """Read the configuration of a file, with changes.

    Args:
        path: YAML file; None for a configuration without one.
        given: Values by dotted key that replace those of the file; None leaves a value.
        changes: Further replacements as text, each ``key=value``, as in ``loss.denoising=100``.

    Raises:
        UserError: A key is unknown, a value has the wrong type or is out of its range, or a
            required file or folder is missing.
    """
    tree = {} if path is None else read_mapping(path)
    for key, value in given.items():
        if value is not None:
            _put(tree, key, value)
    for change in changes:
        _change(tree, change)
    source = "the settings" if path is None else str(path)
    _expect_known(tree, source)
    missing = [name for name in ("data", "fakes", "out") if tree.get(name) is None]
    if missing:
        raise UserError(f"{source} lack {', '.join(missing)}: give --{missing[0]} FOLDER")
    defaults = config_tree(TrainingConfig(Path(), Path(), Path()))
    return _typed(_over(defaults, tree), source)


def write_config(path: Path, course: TrainingConfig) -> None:
    """Write every setting, defaults too, as YAML."""
    write_text(path, yaml.safe_dump(config_tree(course), sort_keys=False, allow_unicode=True))


def config_tree(course: TrainingConfig) -> Tree:
    """Convert every setting to YAML's types."""
    return json.loads(json.dumps(dataclasses.asdict(course), default=str))


def _change(tree: Tree, change: str) -> None:
    key, sign, value = change.partition("=")
    if not sign or not key.strip():
        raise UserError(f"setting {change!r}: write key=value, as in loss.denoising=100")
    _put(tree, key.strip(), parse_yaml(value, f"setting {change[:80]!r}: the value"))


def _put(tree: Tree, key: str, value: object) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner: object = tree.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"{key}: {section} is no section")
        tree = cast(Tree, inner)
    tree[last] = value


def _expect_known(tree: Tree, source: str) -> None:
    known = dict(_keys(config_tree(TrainingConfig(Path(), Path(), Path()))))
    for key, inner in _keys(tree):
        if key not in known:
            near = _nearest(key, list(known))
            raise UserError(
                f"{source}: unknown key {key}{f'; did you mean {near}?' if near else ''}"
            )
        if known[key] != inner:
            raise UserError(f"{source}: {key} is {'a section' if known[key] else 'one value'}")


def _keys(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """List every dotted key, and whether it is a section."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        yield key, isinstance(value, dict)
        if isinstance(value, dict):
            yield from _keys(cast(Tree, value), f"{key}.")


def _nearest(key: str, known: list[str]) -> str | None:
    # where several keys end in that part, the first
    lasts = {one.rpartition(".")[2]: one for one in reversed(known)}
    last = key.rpartition(".")[2]
    if last in lasts:
        return lasts[last]
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    if close:
        return close[0]
    # the right name, misspelt, in the wrong section
    found = difflib.get_close_matches(last, lasts, n=1)
    return lasts[found[0]] if found else None


def _over(defaults: Tree, tree: Tree) -> Tree:
    merged = dict(defaults)
    for key, value in tree.items():
        inner = isinstance(value, dict)
        merged[key] = _over(defaults[key], cast(Tree, value)) if inner else value
    return merged


def _typed(tree: Tree, source: str) -> TrainingConfig:
    try:
        # as JSON: strict, and yet a list may become a tuple and a string a path
        return TypeAdapter(TrainingConfig).validate_json(json.dumps(tree, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(part for part in map(str, first["loc"]) if part.isidentifier())
        said = first["msg"].removeprefix("Input should be ")
        raise UserError(f"{source}: {key} is {first['input']!r}, it should be {said}") from error
