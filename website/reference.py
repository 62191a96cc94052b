"""Pages of the reference that are read from the code: commands and configurations."""

import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from mmdisco.cli.app import COMMANDS, GROUPS, LazyGroup

PYTHON = (
    "`from mmdisco import …` gives the names of the list below; every other one is imported from\n"
    "its module. Signatures, docstrings and sources are those of the code.\n\n"
    "```text\n{names}\n```"
).format(
    names="\n".join(
        f"from {home} import {', '.join(names)}"
        for home, names in pkgutil.resolve_name("mmdisco:_HOMES").items()
    )
)

CONFIGURATIONS = {
    "mmdisco.generation.config:GenerateConfig": (
        "A clip: options of `mmdisco generate`, keywords of `mmdisco.generate`, keys of `--config`."
    ),
    "mmdisco.data.config:PrepareConfig": "Prepared clips: options of `mmdisco prepare`.",
    "mmdisco.data.config:FakesConfig": "Fakes: options of `mmdisco sample-fakes`.",
    "mmdisco.training.bases.config:BasesConfig": (
        "Two base models: options of `mmdisco bases`, and of `--set KEY=VALUE`."
    ),
    "mmdisco.training.config:TrainingConfig": (
        "A training: keys of its YAML file, and of `--set KEY=VALUE` with dots between sections."
    ),
    "mmdisco.evaluation.config:EvaluationConfig": "An evaluation: options of `mmdisco evaluate`.",
}
"""Every configuration with what it is for, by module and name."""


def commands() -> str:
    """Return a page of all commands with their options, as the command line has them."""
    lines = [
        "# Commands",
        "",
        "Written from the command line itself; `-h` after a command says the same.",
        "",
    ]
    for words, command in every_command():
        lines += [f"## mmdisco {' '.join(words)}", "", prose(command.help or ""), ""]
        panels: dict[str, list[Any]] = {}
        for parameter in command.params:
            panels.setdefault(panel_of(parameter), []).append(parameter)
        for panel, parameters in panels.items():
            title = "" if panel in ("Arguments", "Options") else panel
            lines += [*([f"**{title}**", ""] if title else []), *table(parameters), ""]
    return "\n".join(lines)


def every_command() -> Iterator[tuple[list[str], Any]]:
    """Yield the words of every command, and the command with its options."""
    tables: list[tuple[list[str], Mapping[str, str]]] = [([], COMMANDS)]
    tables += [([name], functions) for name, (functions, _) in GROUPS.items()]
    for before, functions in tables:
        group = LazyGroup(functions, name="mmdisco")
        with group.make_context("mmdisco", [], resilient_parsing=True) as context:
            for name in functions:
                yield [*before, name], group.resolve_command(context, [name])[1]


def panel_of(parameter: Any) -> str:
    """Return the heading that the help lists a parameter under."""
    usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return getattr(parameter, "rich_help_panel", None) or usual


def table(parameters: Sequence[Any]) -> list[str]:
    """Return the rows of a table of parameters."""
    rows = ["| option | value | |", "| --- | --- | --- |"]
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            named = f"`{parameter.name.upper()}`"
        else:
            named = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        is_flag = getattr(parameter, "is_flag", False)
        kind = "" if is_flag else kind_of(parameter.type_descriptor.annotation)
        shown = getattr(parameter, "show_default", None)
        default = shown if isinstance(shown, str) else parameter.default
        said = cell(getattr(parameter, "help", None) or "")
        if isinstance(default, str | int | float) and not is_flag and default != "":
            said += f" Default: `{default}`."
        rows.append(f"| {named} | {kind} | {said} |")
    return rows


def kind_of(annotation: Any) -> str:
    """Return the kind of value that an option takes."""
    inner = [one for one in get_args(annotation) if one is not type(None)]
    if inner and get_origin(annotation) is not Literal:
        return kind_of(inner[0])
    words = {str: "text", Path: "path", int: "integer", float: "number", bool: ""}
    return words.get(annotation, "text")


def configuration() -> str:
    """Return a page of all configurations, field by field."""
    lines = ["# Configuration", "", "Written from the classes themselves.", ""]
    for name, about in CONFIGURATIONS.items():
        config = pkgutil.resolve_name(name)
        lines += [f"## {config.__name__}", "", about, "", *fields(config, ""), ""]
    return "\n".join(lines)


def fields(config: Any, before: str) -> list[str]:
    """Return a table of the fields of a configuration; sections stand before their fields."""
    return ["| key | default | |", "| --- | --- | --- |", *rows_of(config, before)]


def rows_of(config: Any, before: str) -> Iterator[str]:
    """Yield a row for each field."""
    for name, field in config.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and hasattr(kind, "model_fields"):
            yield from rows_of(kind, f"{before}{name}.")
            continue
        default = "" if field.is_required() or field.default in (None, "") else f"`{field.default}`"
        yield f"| `{before}{name}` | {default} | {cell(field.description or '')} |"


def prose(text: str) -> str:
    """Return a docstring as Markdown."""
    return re.sub(r"``", "`", text)


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return re.sub(r"([|<>])", r"\\\1", " ".join(prose(text).split()))
