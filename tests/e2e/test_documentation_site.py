"""The documentation site, which `make docs` builds: pages are named, links hold, clips play."""

import re
import sys
from pathlib import Path

import pytest
from mkdocs.config import load_config

from mmdisco.cli.app import COMMANDS, STUDIES
from mmdisco.media.read import read_clip

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s#]*)(#[^()\s]*)?\)")


@pytest.fixture(scope="module", autouse=True)
def website():
    sys.path.insert(0, str(ROOT / "website"))
    yield
    sys.path.remove(str(ROOT / "website"))


@pytest.fixture(scope="module")
def pages():
    import hooks

    return hooks.generated()


def prose(page):
    return FENCED.sub("", page.read_text())


def anchors(page):
    """The anchors of its headings, as GitHub and the site make them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", head.lower()) for head in heads)
    return {head.strip().replace(" ", "-") for head in plain}


def named(nav):
    for one in nav:
        (inner,) = one.values() if isinstance(one, dict) else (one,)
        if isinstance(inner, str):
            yield inner
        else:
            yield from named(inner)


def test_the_site_names_every_page_once(pages):
    found = list(named(load_config(str(ROOT / "mkdocs.yml"))["nav"]))
    own = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    written = {path for path in pages if not path.startswith("reference/api/")}
    assert sorted(found) == sorted(own | written | {"reference/api/index.md"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_hold(page):
    for path, anchor in LINK.findall(prose(page)):
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert target.is_relative_to(ROOT)
        if anchor and target.suffix == ".md":
            assert anchor[1:] in anchors(target), f"{path}{anchor}"


def test_links_to_code_lead_to_pages_of_the_reference(pages):
    import hooks

    def link(text):
        return "".join(hooks.rewritten(text, "docs/toy", "toy/README.md"))

    said = "[AV](../../src/mmdisco/core/av.py#x) [core](../../src/mmdisco/core) [a](https://b.c)"
    wanted = "[AV](../reference/api/core/av.md#x) [core](../reference/api/core/package.md)"
    assert link(said) == f"{wanted} [a](https://b.c)"
    assert {"reference/api/core/av.md", "reference/api/core/package.md"} <= pages.keys()
    assert link("[tests](../../tests/core)") == "tests"
    assert link("[film.md](../film.md)") == "[A discriminator for one film](../film.md)"
    assert link("[all](../../README.md)") == "[all](../README.md)"


def test_a_picture_that_links_to_a_clip_plays():
    import hooks

    shown = hooks.on_page_content('<p><a href="a.mp4"><img alt="A" src="a.png"></a></p>')
    assert '<video controls preload="none" poster="a.png"' in shown
    assert '<source src="a.mp4" type="video/mp4">' in shown


def test_the_reference_has_every_command_and_its_options(pages):
    text = pages["reference/commands.md"]
    wanted = [*COMMANDS, *(f"experiments {name}" for name in STUDIES)]
    assert re.findall(r"^## mmdisco (.+)$", text, re.MULTILINE) == wanted
    assert (
        "| `--seed` | integer | Seed of the first sample; sample i uses seed + i. Default: `0`. |"
        in text
    )
    packages = re.findall(r"^## (.+)$", pages["reference/api/index.md"], re.MULTILINE)
    assert len(packages) == len(set(packages)) >= 11
    assert "| `loss.denoising` |" in pages["reference/configuration.md"]


def test_the_gallery_is_what_its_command_writes(tiny_pair, tmp_path, monkeypatch):
    import gallery

    monkeypatch.setattr(gallery, "PROMPTS", ("a lamp flashing",))
    monkeypatch.setattr(gallery, "SEEDS", (0,))
    gallery.main(["--out", str(tmp_path), "--weights", str(tiny_pair), "--steps", "1"])
    page = (tmp_path / "README.md").read_text()
    files = {path.name for path in tmp_path.iterdir()}
    assert set(re.findall(r"\((a-lamp[^)]*)\)", page)) == files - {
        "README.md",
        "alone-together.gif",
    }
    clip = read_clip(tmp_path / "a-lamp-flashing-0-together.mp4")
    assert clip.video.frames.shape == (16, 192, 192, 3)
    assert page.split("## ")[0] == (ROOT / "docs/gallery/README.md").read_text().split("## ")[
        0
    ].replace("seeds 0 and 1", "seeds 0")


def test_clips_nobody_chose_are_what_their_command_writes(tiny_pair, tmp_path, monkeypatch):
    import unchosen

    alone, best = {"no_joint_guidance": True, "steps": 1}, {"candidates": 2, "steps": 1}
    monkeypatch.setattr(unchosen, "WAYS", {"alone": alone, "best of 2": best})
    monkeypatch.setattr(unchosen, "SEEDS", range(2))
    monkeypatch.setattr(unchosen, "ROWS", 1)
    command = ["--out", str(tmp_path), "--weights", str(tiny_pair)]
    unchosen.main(command)
    page = (tmp_path / "README.md").read_text()
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"README.md", "alone.mp4", "best-of-2.mp4", "sheet-0.png", "sheet-1.png"}
    assert set(re.findall(r"\]\(([^)/]*)\)", page)) == files - {"README.md"}
    assert read_clip(tmp_path / "alone.mp4").video.frames.shape == (32, 160, 160, 3)
    # what was written by hand stays
    (tmp_path / "README.md").write_text(page + "Balls flicker.\n")
    unchosen.main(command)
    assert (tmp_path / "README.md").read_text() == page + "Balls flicker.\n"


def test_the_gallery_in_the_repository_is_small():
    files = list((ROOT / "docs" / "gallery").iterdir())
    assert sum(path.stat().st_size for path in files if path.suffix == ".mp4") <= 1.5e6
    assert (ROOT / "docs" / "gallery" / "alone-together.gif").stat().st_size <= 1e6
