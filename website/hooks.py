"""What `make docs` adds to the pages of ``docs``: the reference, players, and links into the code.

Links from a page to a file of ``src/mmdisco`` lead to its page of the reference; a picture that
links to a clip becomes a player; README, CONTRIBUTING and CHANGELOG are pages too.
"""

import ast
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "src")]

import reference  # noqa: E402 - found by the line above

LIBRARY = ROOT / "src" / "mmdisco"
API = "reference/api"
PAGES = {
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "README.md": "README.md",
}
"""Pages of the site in place of files of the repository."""

LINK = re.compile(r"(?P<text>\[[^\[\]]*\])\((?P<path>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")
NAMED = re.compile(r"\[[\w/]+\.md\]")
PLAYED = re.compile(
    r'<a href="(?P<clip>[^"]+\.mp4)"><img alt="(?P<alt>[^"]*)" src="(?P<picture>[^"]+)" ?/?></a>'
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are written here and nowhere else."""
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def generated() -> dict[str, str]:
    """Text of every page of the site that is no file of ``docs``."""
    pages = {
        "reference/commands.md": reference.commands(),
        "reference/configuration.md": reference.configuration(),
        f"{API}/index.md": index(),
    }
    for source, target in PAGES.items():
        if source != "README.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            pages[target] = "\n".join(rewritten(text, "", target))
    for module in modules():
        pages[page_of(module)] = f"# {dotted(module)}\n\n::: {dotted(module)}\n"
    return pages


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Turn links that leave ``docs`` to pages of the site."""
    source = page.file.src_uri
    if page.file.generated_by:
        return markdown
    return "\n".join(rewritten(markdown, "docs/" + posixpath.dirname(source), source))


def on_page_content(html: str, **_: Any) -> str:
    """Make a player of every picture that links to a clip."""
    return PLAYED.sub(
        r'<video controls preload="none" poster="\g<picture>" aria-label="\g<alt>" title="\g<alt>">'
        r'<source src="\g<clip>" type="video/mp4">\g<alt></video>',
        html,
    )


def rewritten(markdown: str, folder: str, page: str) -> Iterator[str]:
    """Yield the lines of a page with its links as the site has them.

    Args:
        markdown: The page.
        folder: Folder of the repository that its links start from.
        page: Its path within the site.
    """
    code = False
    for line in markdown.split("\n"):
        code ^= line.startswith("```")
        yield line if code else LINK.sub(lambda found: link(found, folder, page), line)


def link(found: re.Match[str], folder: str, page: str) -> str:
    """Return a link for the site; its text alone where the site has no such page."""
    text, path, anchor = found["text"], found["path"], found["anchor"] or ""
    if "://" in path:
        return found[0]
    wanted = posixpath.normpath(posixpath.join(folder, path))
    target = target_of(wanted)
    if target is None:
        return text[1:-1]
    if NAMED.fullmatch(text):
        text = f"[{title_of(target)}]"
    return f"{text}({posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor})"


@cache
def title_of(target: str) -> str:
    """Return the heading of a page, which stands in links for the name of its file."""
    source = ROOT / "docs" / target
    if not source.is_file():
        source = next(ROOT / name for name, page in PAGES.items() if page == target)
    return source.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").strip()


def target_of(wanted: str) -> str | None:
    """Return the page of the site for a file of the repository; None if it has none."""
    if wanted in PAGES:
        return PAGES[wanted]
    if wanted.startswith("docs/"):
        return wanted.removeprefix("docs/")
    path = ROOT / wanted
    if path.is_relative_to(LIBRARY):
        return page_of(path if path.suffix == ".py" else path / "__init__.py")
    return None


def modules() -> list[Path]:
    """Modules of the library that the reference describes."""
    return [
        path
        for path in sorted(LIBRARY.rglob("*.py"))
        if path.name not in ("__main__.py",) and ast.get_docstring(ast.parse(path.read_text()))
    ]


def dotted(module: Path) -> str:
    """Return the name of a module."""
    parts = module.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def page_of(module: Path) -> str:
    """Return the page of a module within the site."""
    inner = module.relative_to(LIBRARY).with_suffix("")
    name = inner.parent / "package" if inner.name == "__init__" else inner
    return f"{API}/{name.as_posix()}.md"


def index() -> str:
    """List all modules by package, each with the first line of its docstring."""
    lines = ["# Python", "", reference.PYTHON, ""]
    package = None
    for module in sorted(modules(), key=lambda one: one.parent != LIBRARY):
        inner = module.relative_to(LIBRARY)
        here = f".{inner.parts[0]}" if len(inner.parts) > 1 else ""
        if here != package:
            package = here
            lines += ["", f"## mmdisco{package}", "", "| module | |", "| --- | --- |"]
        first = (ast.get_docstring(ast.parse(module.read_text())) or "").split("\n\n")[0]
        about = " ".join(first.replace("``", "`").replace("|", "\\|").split())
        page = os.path.relpath(page_of(module), API)
        lines.append(f"| [{dotted(module).removeprefix('mmdisco.')}]({page}) | {about} |")
    return "\n".join(lines) + "\n"
