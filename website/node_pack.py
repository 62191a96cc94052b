"""Writes what the node pack says of itself, from the schemas of its nodes.

    python website/node_pack.py [--check]

The help page of each node, the example workflows, and the table of nodes in docs/comfyui.md.
ComfyUI is not needed. ``--check`` writes nothing and ends with status 1 if a file would change.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from node_workflows import CORE, WORKFLOWS, kind_of, workflow

from mmdisco.io.files import write_text

ROOT: Final = Path(__file__).resolve().parents[1]
PACK: Final = ROOT / "comfyui"
PAGE: Final = ROOT / "docs" / "comfyui.md"
MARKS: Final = ("<!-- nodes -->\n", "<!-- end of nodes -->\n")


def schemas() -> list[Any]:
    """Return the schemas of the pack, read beside the tests' fake of ComfyUI."""
    sys.path.insert(0, str(ROOT / "tests" / "comfyui"))
    try:
        import fakecomfy
    finally:
        del sys.path[0]
    with TemporaryDirectory() as folder, fakecomfy.installed(Path(folder)) as pack:
        return [node.define_schema() for node in pack.NODES]


def help_page(schema: Any) -> str:
    """Return the help page of a node, which ComfyUI shows beside it."""
    lines = [f"# {schema.display_name}", "", schema.description, ""]
    lines += ["## Inputs", "", "| input | type | |", "| --- | --- | --- |"]
    lines += [
        f"| `{one.id}` | {one.io_type} | {one.tooltip}{_range(one)} |" for one in schema.inputs
    ]
    lines += ["", "## Outputs", "", "| output | type | |", "| --- | --- | --- |"]
    lines += [
        f"| `{one.display_name or one.io_type}` | {one.io_type} | {getattr(one, 'tooltip', '')} |"
        for one in schema.outputs
    ]
    return "\n".join(lines) + "\n"


def _range(one: Any) -> str:
    if one.optional:
        return " May be left open."
    if not hasattr(one, "min"):
        return ""
    return f" From {one.min:g} to {one.max:g}; {one.default:g} unless set."


def table(found: Sequence[Any]) -> str:
    """Return the table of nodes for the page."""
    lines = ["| node | in | out | |", "| --- | --- | --- | --- |"]
    for schema in found:
        ins = ", ".join(f"`{one.id}`" for one in schema.inputs)
        outs = ", ".join(f"`{one.display_name or one.io_type}`" for one in schema.outputs)
        lines.append(f"| {schema.display_name} | {ins} | {outs} | {schema.description} |")
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Return the text of every file that this command writes."""
    found = schemas()
    kinds = {**CORE, **{one.node_id: kind_of(one) for one in found}}
    written = {PACK / "web" / "docs" / f"{one.node_id}.md": help_page(one) for one in found}
    for name, nodes in WORKFLOWS.items():
        text = json.dumps(workflow(nodes, kinds), indent=1)
        written[PACK / "example_workflows" / f"{name}.json"] = text + "\n"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    written[PAGE] = f"{before}{MARKS[0]}\n{table(found)}\n{MARKS[1]}{after}"
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args(arguments).check
    changed = {
        path: text
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in changed.items():
        print(path.relative_to(ROOT))  # noqa: T201 - a command
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
