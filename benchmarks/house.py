"""Measures the house: sizes, names, imports and waiting times, against limits.

    python benchmarks/house.py [--no-run]

Prints a table and ends with status 1 if a limit that has been reached once is missed. ``--no-run``
leaves out what starts the command line.
"""

import argparse
import ast
import collections
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LIBRARY: Final = ROOT / "src" / "mmdisco"
SMALL: Final = 40  # lines; only interfaces and __init__ may be shorter
SCHEDULERS: Final = ("schedulers.py", "strided.py")  # of core, counted apart

TRACE: Final = """
import sys
package = sys.argv.pop(1)
run = set()
def watch(frame, event, argument):
    name = frame.f_code.co_filename
    if name.startswith(package) and frame.f_code.co_name != "<module>":
        run.add(name)
sys.setprofile(watch)
from mmdisco.cli import main
sys.argv[0] = "mmdisco"
status = 0
try:
    main()
except SystemExit as stopped:
    status = stopped.code or 0
sys.setprofile(None)
modules = [name for name in sys.modules if name.partition(".")[0] == "mmdisco"]
sys.stderr.write(f"\\n{len(run)} {len(modules)}\\n")
sys.exit(status)
"""


@dataclass(frozen=True)
class Limit:
    """What a figure is to be at most, and whether it has been: then a miss is a failure."""

    name: str
    most: float
    reached: bool


LIMITS: Final = (
    Limit("library lines", 29_000, reached=False),
    Limit("library files", 260, reached=False),
    Limit("core lines without schedulers", 1_600, reached=False),
    Limit("longest file", 400, reached=True),
    Limit("top-level siblings", 16, reached=True),
    Limit("public class names used twice", 0, reached=True),
    Limit("files under 40 lines", 0, reached=False),
    Limit("files run by generate", 25, reached=False),
    Limit("modules imported by generate", 60, reached=True),
    Limit("--help, CPU seconds", 0.3, reached=False),
    Limit("mistaken option, CPU seconds", 1.0, reached=True),
)


def files() -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(LIBRARY.rglob("*.py"))}


def is_interface(tree: ast.Module) -> bool:
    """Whether a file holds names of shapes, exceptions, or abstract classes and little else."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    abstract = [
        one
        for one in classes
        if any(isinstance(base, ast.Name) and base.id in ("ABC", "Exception") for base in one.bases)
    ]
    return not functions and (not classes or bool(abstract))


def sizes() -> dict[str, tuple[float, str]]:
    """Figure by name, each with where it comes from."""
    texts = files()
    lines = {path: text.count("\n") for path, text in texts.items()}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    core = {p: n for p, n in lines.items() if p.parent == LIBRARY / "core"}
    method = {p: n for p, n in core.items() if p.name not in SCHEDULERS}
    longest = max(lines, key=lines.__getitem__)
    siblings = [p.name for p in LIBRARY.iterdir() if p.name not in ("__pycache__", "py.typed")]
    homes: collections.defaultdict[str, list[str]] = collections.defaultdict(list)
    for path, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(shown(path))
    twice = {name: where for name, where in homes.items() if len(where) > 1}
    small = [
        p
        for p, n in lines.items()
        if n < SMALL and not p.name.startswith("__") and not is_interface(trees[p])
    ]
    return {
        "library lines": (sum(lines.values()), ""),
        "library files": (len(lines), ""),
        "core lines without schedulers": (sum(method.values()), f"{len(method)} files"),
        "longest file": (lines[longest], shown(longest)),
        "top-level siblings": (len(siblings), ""),
        "public class names used twice": (len(twice), ", ".join(sorted(twice))),
        "files under 40 lines": (len(small), ", ".join(map(shown, small))),
    }


def shown(path: Path) -> str:
    return str(path.relative_to(LIBRARY))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}


def walk() -> dict[str, tuple[float, str]]:
    """Our files that run, and our modules that are imported, for one clip of one step."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "clip.mp4")
        command = [sys.executable, "-c", TRACE, str(LIBRARY)]
        command += ["generate", "a red ball bouncing", "--steps", "1", "--out", out]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment(), cwd=folder
        )
    run, imported = map(float, done.stderr.splitlines()[-1].split())
    return {
        "files run by generate": (run, "one clip, one step"),
        "modules imported by generate": (imported, "one clip, one step"),
    }


def seconds(arguments: list[str], status: int) -> float:
    """The least of three runs, in CPU seconds, which other work on the machine does not stretch."""
    command = [sys.executable, "-m", "mmdisco", *arguments]
    return round(min(cpu_seconds(command, status) for _ in range(3)), 2)


def cpu_seconds(command: list[str], status: int) -> float:
    begin = children_seconds()
    done = subprocess.run(command, capture_output=True, check=False, env=environment())
    if done.returncode != status:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}")
    return children_seconds() - begin


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def waits() -> dict[str, tuple[float, str]]:
    """CPU seconds until the command line answers."""
    bare = min(cpu_seconds([sys.executable, "-c", ""], 0) for _ in range(3))
    on_log = f"the interpreter alone takes {bare:.2f}"
    return {
        "--help, CPU seconds": (seconds(["--help"], 0), on_log),
        "mistaken option, CPU seconds": (seconds(["generate", "--no-such-option"], 2), on_log),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-run", action="store_true", help="sizes and names only")
    arguments = parser.parse_args()
    parts: list[Callable[[], dict[str, tuple[float, str]]]] = [sizes]
    parts += [] if arguments.no_run else [walk, waits]
    found = {name: value for part in parts for name, value in part().items()}
    failed = False
    print("| figure | value | limit | |\n| --- | ---: | ---: | --- |")
    for limit in LIMITS:
        if limit.name not in found:
            continue
        value, remark = found[limit.name]
        verdict = "ok" if value <= limit.most else "MISSED" if limit.reached else "not yet"
        failed |= verdict == "MISSED"
        said = f"{verdict}; {remark}" if remark else verdict
        print(f"| {limit.name} | {value:,.10g} | {limit.most:,.10g} | {said} |")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
