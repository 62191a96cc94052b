"""Configurations: frozen, validated trees of settings that describe themselves.

A setting is written once, as a field with its default, its bounds, and a docstring below it. From
that follow validation, messages of one line, keys such as ``loss.denoising`` for a command line,
and a commented YAML file of every setting.
"""

import difflib
import json
import math
import re
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticKnownError

from mmdisco.errors import UserError

Tree = dict[str, Any]
"""Settings in JSON's types; a section is a tree of its own."""

_WIDTH: Final = 100  # columns of a commented file
_LONGEST: Final = 40  # letters of a value in a message
_BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
FINEST: Final = 1_000_000  # of a unit, for numbers with a decimal point
_SIZE: Final = re.compile(r"(\d{1,5})[x×](\d{1,5})")
_KIND: Final = re.compile(r"([a-z]+)_(type|parsing|parsing_size|from_float)")
_KINDS: Final = {
    "bool": "neither true nor false",
    "float": "no number",
    "int": "no whole number",
    "model": "no section: give its settings by name",
    "path": "no path",
    "string": "no text",
    "tuple": "no list",
}
_NUMBER: Final = re.compile(
    r"[+-]?(\d{1,30}(/\d{1,30}|\.\d{0,30})?|\.\d{1,30})(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE
)


Config = TypeVar("Config", bound="Settings")

Count = Annotated[int, Field(ge=1)]
"""Number of things of which there is at least one."""


@dataclass(frozen=True)
class Panel:
    """Panel of the help in which an option is listed."""

    title: str


@dataclass(frozen=True)
class Positional:
    """Mark of an option that the command line takes without its name.

    Attributes:
        several: Whether several values may be given.
    """

    several: bool = False


@dataclass(frozen=True)
class Named:
    """Name of an option that is not its field's; ``--on/--off`` for both values of a flag."""

    name: str


class Settings(BaseModel):
    """Base of all configurations; a field that is one itself is a section of the tree."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise UserError(_reason(type(self), error)) from error

        # sections of a tree are validated without it, so that a message has the whole key
        __init__.__pydantic_base_init__ = True

    @classmethod
    def of_tree(cls: type[Config], tree: Mapping[Any, Any], source: str = "") -> Config:
        """Validate a tree; what it lacks has its default, also within a section.

        Args:
            tree: Settings in JSON's types.
            source: File that they come from, for messages; "" is none.

        Raises:
            UserError: A key is unknown, or a value has another type or is out of its range.
        """
        try:
            # as JSON: strict, and yet a list may become a tuple and a string a path
            return cls.model_validate_json(json.dumps(_over(cls._sections(), tree), default=str))
        except ValidationError as error:
            said = _reason(cls, error)
            raise UserError(f"{source}: {said}" if source else said) from error

    @classmethod
    def _sections(cls) -> Tree:
        """Return the default of every section, which may be another than that of its class."""
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {name: one.tree() for name, one in defaults.items() if isinstance(one, Settings)}

    def updated(self: Config, values: Mapping[str, object]) -> Config:
        """Return a copy with other values, validated.

        Args:
            values: Values by dotted key, or trees by section; None is a value like others.

        Raises:
            UserError: As in ``of_tree``.
        """
        return self.of_tree(_over(self.tree(), nested(values)))

    def tree(self) -> Tree:
        """Return every setting in JSON's types."""
        return self.model_dump(mode="json")

    def flat(self) -> dict[str, Any]:
        """Return every setting in JSON's types by its dotted key."""
        return dict(_flat(self.tree()))

    @classmethod
    def field_of(cls, key: str) -> FieldInfo:
        """Return the field of a setting by its dotted key."""
        section, _, rest = key.partition(".")
        field = cls.model_fields[section]
        inner = _section(field)
        return inner.field_of(rest) if inner is not None and rest else field

    @classmethod
    def describe(cls, key: str) -> str:
        """Return the description of a setting by its dotted key."""
        return " ".join((cls.field_of(key).description or "").split())

    def commented(self) -> str:
        """Return every setting as YAML, each below its description and bounds."""
        return "".join(f"{line}\n" for line in self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        import yaml

        for name, field in type(self).model_fields.items():
            value, bounds = getattr(self, name), _bounds(field)
            said = self.describe(name)
            if bounds:
                said += f" From {bounds}." if bounds[0].isdecimal() else f" {bounds.capitalize()}."
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


def value_type(annotation: Any) -> Any:
    """Return the type of a field's value, without its marks and without ``None``."""
    if get_origin(annotation) is Annotated:
        return value_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return value_type(next(one for one in get_args(annotation) if one is not type(None)))
    return annotation


def number(value: Any) -> Fraction:
    """Parse a number of a table or an option exactly; also ``30000/1001``.

    Raises:
        ValueError: It is not a number, or has more than 30 digits or a power of ten beyond 99.
    """
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value).strip()):
        raise ValueError(value)
    try:
        return Fraction(str(value).strip())
    except ZeroDivisionError as error:
        raise ValueError(value) from error


def _exact(value: Any) -> Any:
    """Convert a number to a fraction; one with a decimal point is exact to a millionth."""
    if isinstance(value, Fraction) or value is None:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticKnownError("finite_number")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Fraction(value).limit_denominator(FINEST)
    try:
        return number(value)
    except ValueError as error:
        raise PydanticKnownError("float_parsing") from error


def _height_and_width(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise UserError(f"a size of {shown(value)}: give HEIGHTxWIDTH, as in 256x256")
    return int(found[1]), int(found[2])


EXACT: Final = BeforeValidator(_exact)
HEIGHT_AND_WIDTH: Final = BeforeValidator(_height_and_width)
Side = Annotated[int, Field(ge=1, le=8192)]


def part_of(words: str) -> tuple[int, int]:
    """Parse share and number of shares from ``I/N``.

    Raises:
        UserError: The text is not of this form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", words)
    if not found or int(found[1]) >= int(found[2]):
        raise UserError(f"--shard must be I/N with I from 0 to N − 1, as in 0/4, not {words!r}")
    return int(found[1]), int(found[2])


def _shard(value: Any) -> Any:
    return part_of(value) if isinstance(value, str) else value


Shard = Annotated[tuple[int, int] | None, BeforeValidator(_shard)]
"""Share and number of shares, as a pair or as ``I/N``."""


def shown(value: object) -> str:
    """Return a value as a message shows it, of at most 40 letters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def unknown(name: object, known: Iterable[str]) -> str:
    """Say that there is no option of a name, and which is nearest.

    Args:
        name: The name, perhaps without its section, or with another one.
        known: Names there are, by dotted key; those of the section are listed where none is near.
    """
    keys = list(known)
    # a name without its section; the last of several
    full = {key: key for key in keys} | {key.rpartition(".")[2]: key for key in keys}
    section, _, last = str(name).rpartition(".")
    near = [
        match
        for text in (str(name), last)
        for match in difflib.get_close_matches(text, full, n=1, cutoff=0.7)
    ]
    if near:
        return f"unknown option {shown(name)}; did you mean {full[near[0]]}?"
    here = [key for key in keys if key.rpartition(".")[0] == section]
    return f"unknown option {shown(name)}: known are {', '.join(here)}"


def _reason(config: type[Settings], error: ValidationError) -> str:
    """Say what is wrong with the first mistaken setting, and what it may be."""
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    kind, value = first["type"], first["input"]
    said = first["msg"].removeprefix("Value error, ")
    key, field = _place(config, first["loc"])
    if not key:
        return said
    if kind == "extra_forbidden" or field is None:
        return unknown(key, _keys(config))
    if kind == "missing" and field.is_required():
        return f"{key} is missing"
    if kind == "finite_number":
        return f"{key} {value}: give a finite number, or leave it out"
    if kind == "literal_error":
        choices = ", ".join(re.findall(r"'([^']+)'", said))
        return f"unknown {key} {shown(value)}: choose one of {choices}"
    if kind.startswith(("greater_than", "less_than")):
        return f"{key} {shown(value)}: give {_bounds(field)}"
    if kind in ("missing", "too_long"):
        return f"{key} {shown(value)} has too {'few' if kind == 'missing' else 'many'} values"
    named = _KIND.fullmatch(kind)
    if named is not None and named[1] in _KINDS:
        return f"{key} {shown(value)} is {_KINDS[named[1]]}"
    return f"{key} {shown(value)}: {said[:1].lower()}{said[1:]}"


def _place(config: type[Settings], loc: Iterable[int | str]) -> tuple[str, FieldInfo | None]:
    """Return the dotted key of a setting and its field, from a place in a tree."""
    path: list[str] = []
    section: type[Settings] | None = config
    field: FieldInfo | None = None
    for part in map(str, loc):
        if section is not None:
            path.append(part)
            field = section.model_fields.get(part)
            section = None if field is None else _section(field)
    return ".".join(path), field


def _bounds(field: FieldInfo) -> str:
    """Return the bounds of a number, as in "0 to 1" or "more than 0"; "" if it has none."""
    found = {
        name: getattr(one, name)
        for one in [*field.metadata, *_constraints(field.annotation)]
        for name in _BOUNDS
        if hasattr(one, name)
    }
    if found.keys() >= {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    return " and ".join(f"{_BOUNDS[name]} {value}" for name, value in found.items())


def _constraints(annotation: Any) -> Iterator[object]:
    """Yield the constraints of the parts of a type."""
    for one in getattr(annotation, "__metadata__", ()):
        yield from one.metadata if isinstance(one, FieldInfo) else [one]
    for part in get_args(annotation):
        yield from _constraints(part)


def _section(field: FieldInfo) -> type[Settings] | None:
    """Return the configuration that a field holds, where it may be null too."""
    kind = value_type(field.annotation)
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


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


def _over(defaults: Tree, tree: Mapping[Any, Any]) -> Tree:
    """Return a tree with the values of another one in place of its own, all keys as text."""
    merged = dict(defaults)
    for key, value in tree.items():
        own = merged.get(str(key))
        inner = isinstance(value, Mapping) and (own is None or isinstance(own, dict))
        merged[str(key)] = _over(own or {}, cast(Tree, value)) if inner else value
    return merged
