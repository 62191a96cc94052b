"""Messages of a configuration: what is wrong with an option, in one line."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic_core import ErrorDetails

_KINDS: Final = {"int": "whole number", "bool": "yes or no", "string": "text", "path": "path"}
_PAIR: Final = ("tuple_type", "missing", "too_long")
_LONGEST: Final = 40  # letters of a value in a message


def shown(value: Any) -> str:
    """Return a value as a message shows it, of at most 40 letters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def unknown(name: str, known: Iterable[str]) -> str:
    """Say that there is no option of a name, and which is nearest."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"unknown option {shown(name)}" + (f"; did you mean {near[0]}?" if near else "")


def reason(config: type[BaseModel], error: ErrorDetails) -> str:
    """Say what is wrong with a value, and what it may be.

    Args:
        config: The configuration.
        error: What pydantic says of one of its fields.
    """
    name, kind, value = str(error["loc"][0]), error["type"], error["input"]
    context = error.get("ctx", {})
    label = name.replace("_", " ")
    if kind == "extra_forbidden":
        return unknown(name, config.model_fields)
    if kind == "finite_number":
        return f"{label} {value}: give a finite number, or leave it out"
    if kind == "literal_error":
        choices = ", ".join(re.findall(r"'(\w+)'", context["expected"]))
        return f"unknown {label} {shown(value)}: choose one of {choices}"
    if kind.startswith(("greater_than", "less_than")):
        return f"{label} {shown(value)}: give {_range(config, name, context)}"
    wanted = "pair" if kind in _PAIR else _KINDS.get(kind.partition("_")[0], "number")
    return f"{label} {shown(value)} is no {wanted}"


def _range(config: type[BaseModel], name: str, bound: Mapping[str, Any]) -> str:
    found = {type(one): one for one in config.model_fields[name].metadata}
    low, above, high = found.get(Ge), found.get(Gt), found.get(Le)
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"{low.ge} to {high.le}"
    if isinstance(above, Gt) and isinstance(high, Le):
        return f"more than {above.gt} and at most {high.le}"
    return " and ".join(
        f"{'at least' if 'g' in key else 'at most'} {one}" for key, one in bound.items()
    )
