"""Configurations: frozen, validated trees of settings that describe themselves.

A setting is written once, as a field with its default, its bounds, and a docstring below it. From
that follow validation, keys such as ``loss.denoising`` for a command line, and a commented YAML
file of every setting.
"""

import difflib
import json
import textwrap
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, ClassVar, Final, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from mmdisco.errors import UserError

Tree = dict[str, Any]
"""Settings in JSON's types; a section is a tree of its own."""

_WIDTH: Final = 100  # columns of a commented file
_BOUNDS: Final = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


Config = TypeVar("Config", bound="Settings")


class Settings(BaseModel):
    """Base of all configurations; a field that is one itself is a section of the tree."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @classmethod
    def of_tree(cls: type[Config], tree: Mapping[str, Any], source: str = "the settings") -> Config:
        """Validate a tree; what it lacks has its default.

        Args:
            tree: Settings in JSON's types.
            source: Where they come from, for messages.

        Raises:
            UserError: A key is unknown, or a value has another type or is out of its range.
        """
        _expect_known(cls, tree, source)
        try:
            # as JSON: strict, and yet a list may become a tuple and a string a path
            return cls.model_validate_json(json.dumps(tree, default=str, skipkeys=True))
        except ValidationError as error:
            raise UserError(f"{source}: {_line(error)}") from error

    def updated(self: Config, values: Mapping[str, object], source: str = "the settings") -> Config:
        """Return a copy with other values, validated.

        Args:
            values: Values by dotted key, or trees by section; None is a value like others.
            source: Where they come from, for messages.

        Raises:
            UserError: As in ``of_tree``.
        """
        tree = nested(values)
        _expect_known(type(self), tree, source)
        return self.of_tree(_over(self.tree(), tree), source)

    def tree(self) -> Tree:
        """Return every setting in JSON's types."""
        return self.model_dump(mode="json")

    def flat(self) -> dict[str, Any]:
        """Return every setting in JSON's types by its dotted key."""
        return dict(_flat(self.tree()))

    @classmethod
    def describe(cls, key: str) -> str:
        """Return the description of a setting by its dotted key."""
        section, _, rest = key.partition(".")
        field = cls.model_fields[section]
        inner = _section(field)
        if inner is not None and rest:
            return inner.describe(rest)
        return " ".join((field.description or "").split())

    def commented(self) -> str:
        """Return every setting as YAML, each below its description and bounds."""
        return "".join(f"{line}\n" for line in self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            said = self.describe(name) + _bounds(field)
            yield from textwrap.wrap(
                said, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
            if isinstance(value, Settings):
                yield f"{indent}{name}:"
                yield from value._lines(f"{indent}  ")
            else:
                text = yaml.safe_dump([self.tree()[name]], default_flow_style=True)
                yield f"{indent}{name}: {text.strip()[1:-1]}"


def nested(values: Mapping[str, object]) -> Tree:
    """Convert values by dotted key into a tree; later ones replace earlier ones.

    Raises:
        UserError: A key leads through a value that is no section.
    """
    whole: Tree = {}
    for key, value in values.items():
        tree = whole
        *sections, last = key.split(".")
        for section in sections:
            inner: object = tree.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UserError(f"{key}: {section} is one value, not a section")
            tree = cast(Tree, inner)
        tree[last] = value
    return whole


def _section(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _expect_known(
    model: type[Settings], tree: Mapping[Any, Any], source: str, prefix: str = ""
) -> None:
    """Refuse the first key that the model lacks, at any depth."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in model.model_fields:
            raise UserError(f"{source}: unknown key {key}{_hint(name, prefix, model)}")
        inner = _section(model.model_fields[name])
        if inner is not None:
            if not isinstance(value, Mapping):
                raise UserError(f"{source}: {key} is a section: give its settings by name")
            _expect_known(inner, cast(Tree, value), source, f"{key}.")


def _hint(name: object, prefix: str, model: type[Settings]) -> str:
    known = {key: key for key in _keys(model, prefix)}
    # a name without its section, or of another one; the last of several
    known |= {key.rpartition(".")[2]: key for key in known}
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.7)
    here = ", ".join(model.model_fields)
    return f"; did you mean {known[near[0]]}?" if near else f": known are {here}"


def _keys(model: type[Settings], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _section(field)
        yield f"{prefix}{name}"
        if inner is not None:
            yield from _keys(inner, f"{prefix}{name}.")


def _flat(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(cast(Tree, value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _over(defaults: Tree, tree: Tree) -> Tree:
    merged = dict(defaults)
    for key, value in tree.items():
        inner = isinstance(value, dict) and isinstance(defaults.get(key), dict)
        merged[key] = _over(defaults[key], cast(Tree, value)) if inner else value
    return merged


def _line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(part for part in map(str, first["loc"]) if part.isidentifier())
    said = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{key} is {repr(first['input'])[:80]}, it should be {said}"


def _bounds(field: FieldInfo) -> str:
    """Return the bounds of a number as a sentence; "" if it has none."""
    inner = (getattr(kind, "__metadata__", ()) for kind in get_args(field.annotation))
    found = {
        name: getattr(one, name)
        for one in (*field.metadata, *chain.from_iterable(inner))
        for name in _BOUNDS
        if hasattr(one, name)
    }
    if found.keys() >= {"ge", "le"}:
        return f" From {found['ge']:g} to {found['le']:g}."
    words = " and ".join(f"{_BOUNDS[name]} {value:g}" for name, value in found.items())
    return f" {words.capitalize()}." if words else ""
