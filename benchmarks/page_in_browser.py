"""Whether the page of ``mmdisco app`` works: ``python benchmarks/page_in_browser.py [--out docs]``.

Serves the page and drives it in headless Chromium (``--browser``) as users would. Prints a line for
each check; exit status 1 if one failed. With ``--out`` it writes app.json, a table of what it
measured and pictures of the page there. ``--only PATTERN`` runs the checks of such names.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

PATIENCE: Final = 60_000  # milliseconds for one clip on a busy machine
FEW: Final = 4  # steps of a clip whose looks do not matter
LOUD: Final = 1e-3  # root mean square of a sound that can be heard
GRAVE: Final = ("serious", "critical")
BROWSER_ARGS: Final = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
DECODED: Final = """async (video) => {
  const bytes = await (await fetch(video.src)).arrayBuffer();
  const sound = await new AudioContext().decodeAudioData(bytes);
  return Array.from(sound.getChannelData(0));
}"""

Check = Callable[["Visit"], None]


@dataclass
class Visit:
    """A browser, the address of the page, and what was noticed on the way."""

    browser: Browser
    url: str
    server: int
    folder: Path
    noticed: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    pictures: Path | None = None
    _contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, width: int = 1400, scheme: Literal["light", "dark"] = "light") -> Page:
        """Open the page as a new user."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, permissions=[]
        )
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.noticed.append(f"error: {error}"))
        page.on("request", self._asked)
        page.goto(self.url)
        page.locator("#mm-make-together").wait_for()
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.noticed.append(f"console: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.noticed.append(f"outside: {request.url}")


def ask(page: Page, prompt: str | None = None, steps: int = FEW, candidates: int = 1) -> None:
    """Fill in some settings."""
    if prompt is not None:
        page.fill("#mm-prompt textarea", prompt)
    for name, value in (("steps", steps), ("candidates", candidates)):
        box = page.locator(f"#mm-{name} input[type=number]")
        box.fill(str(value))
        box.blur()


def tab(page: Page, title: str) -> None:
    page.get_by_role("tab", name=title, exact=True).click()


def make(page: Page, name: str) -> None:
    """Press the button of a tab and wait for its result."""
    page.click(f"#mm-make-{name}")
    line = page.locator(f"#mm-status-{name}")
    expect(line).not_to_contain_text(re.compile("ready|done"), timeout=PATIENCE)
    line.get_by_text(re.compile(r"^done$|^Error$")).or_(line.get_by_role("alert")).first.wait_for()
    assert "done" in line.inner_text(), line.inner_text()


def sounds(page: Page, name: str) -> list[np.ndarray]:
    """Return the decoded sound of every clip of a tab, as the browser plays it."""
    clips = page.locator(f"#mm-result-{name} .mm-clips video")
    found = [np.array(clips.nth(k).evaluate(DECODED)) for k in range(clips.count())]
    assert found, "there is no clip"
    assert all(np.sqrt(np.mean(one**2)) > LOUD for one in found), "a clip is silent"
    return found


def saved(page: Page, name: str, what: str, folder: Path, at: int = -1) -> Path:
    """Download a file of a clip of a tab."""
    links = page.locator(f"#mm-result-{name} .mm-files a", has_text=what)
    with page.expect_download() as download:
        links.nth(links.count() - 1 if at < 0 else at).click()
    path = folder / f"{name}-{at}-{download.value.suggested_filename}"
    download.value.save_as(path)
    return path


def alert(page: Page, where: str) -> str:
    line = page.locator(f"{where} [role=alert]")
    line.wait_for()
    said = line.inner_text()
    assert "\n" not in said, said
    return said


def together(visit: Visit) -> None:
    """Alone and together: two clips that can be heard, in sync, and all their files."""
    begin = time.monotonic()
    page = visit.open()
    visit.measured["page load, seconds"] = time.monotonic() - begin
    for name in ("first", "second"):
        begin = time.monotonic()
        ask(page, "a drum being hit", 20)
        make(page, "together")
        visit.measured[f"{name} clip alone and together, seconds"] = time.monotonic() - begin
    alone, both = sounds(page, "together")
    assert len(alone) == len(both)
    assert not np.array_equal(alone, both), "alone and together are the same"
    page.get_by_role("button", name="Play in sync").click()
    page.wait_for_timeout(700)
    playing = page.locator("#mm-result-together video").evaluate_all(
        "all => all.map(one => [one.currentTime, one.muted, one.paused])"
    )
    (first, muted, _), (second, heard, _) = playing
    assert first > 0, playing
    assert abs(first - second) < 0.15, playing
    assert (muted, heard) == (True, False), playing
    page.get_by_role("radio", name="Alone").check()
    assert page.locator("#mm-result-together video").nth(1).evaluate("one => one.muted")
    for what in ("mp4", "wav", "picture", "record"):
        assert saved(page, "together", what, visit.folder).stat().st_size > 100


def candidates(visit: Visit) -> None:
    """Candidates are ranked by their logits."""
    page = visit.open()
    ask(page, candidates=3)
    make(page, "together")
    rows = page.locator("#mm-result-together .mm-candidates tbody tr").all_inner_texts()
    logits = [float(row.split()[-1]) for row in rows]
    assert len(logits) == 3, rows
    assert logits == sorted(logits, reverse=True), rows


def cancel(visit: Visit) -> None:
    """Cancel works at once, and the next clip is made."""
    page = visit.open()
    ask(page, steps=200)
    page.click("#mm-make-together")
    line = page.locator("#mm-status-together")
    expect(line).to_contain_text("step", timeout=PATIENCE)
    expect(line).to_contain_text("s left", timeout=PATIENCE)
    begin = time.monotonic()
    page.click("#mm-cancel-together")
    expect(line).to_contain_text("cancelled", timeout=PATIENCE)
    visit.measured["cancel, seconds"] = time.monotonic() - begin
    assert visit.measured["cancel, seconds"] < 2
    page.wait_for_timeout(2500)  # nothing comes after it
    expect(line).to_contain_text("cancelled")
    ask(page)
    make(page, "together")


def given_video(visit: Visit) -> None:
    """A sound is made for a video, whose picture is untouched."""
    page = visit.open()
    clip = _clip(visit, page)
    tab(page, "Sound for a video")
    page.locator("#mm-video input[type=file]").first.set_input_files(clip)
    page.locator("#mm-video video").wait_for()
    make(page, "video")
    sounds(page, "video")
    result = saved(page, "video", "mp4", visit.folder)
    assert _packets(result) == _packets(clip), "the picture was changed"


def given_sound(visit: Visit) -> None:
    """A video is made for a sound, which is untouched."""
    page = visit.open()
    _clip(visit, page)
    wav = saved(page, "together", "wav", visit.folder)
    tab(page, "Video for a sound")
    page.locator("#mm-audio input[type=file]").first.set_input_files(wav)
    page.locator("#mm-audio audio, #mm-audio [data-testid^=waveform]").first.wait_for(
        state="attached"
    )
    make(page, "audio")
    sounds(page, "audio")
    own, made = _samples(wav), _samples(saved(page, "audio", "wav", visit.folder))
    assert np.array_equal(own, made), "the sound was changed"


def inside(visit: Visit) -> None:
    """The look inside has a clip, a picture and the numbers."""
    page = visit.open()
    ask(page)
    tab(page, "Look inside")
    make(page, "inside")
    sounds(page, "inside")
    image = page.locator("#mm-result-inside img")
    image.wait_for()
    page.wait_for_function("document.querySelector('#mm-result-inside img').naturalWidth > 400")
    page.get_by_text("Numbers of the picture").click()
    # at the noisiest levels nothing is guided
    assert 1 <= page.locator("#mm-result-inside details tbody tr").count() <= FEW


def compare(visit: Visit) -> None:
    """Clips are compared, sorted, and a file that is none has its reason."""
    page = visit.open()
    clip = _clip(visit, page)
    other = saved(page, "together", "mp4", visit.folder, at=0)
    tab(page, "Compare")
    text = _text(visit)
    page.locator("#mm-compare input[type=file]").first.set_input_files([clip, other, text])
    page.locator("#mm-compare").get_by_text(text.name).first.wait_for()
    make(page, "compare")
    rows = page.locator("#mm-result-compare tbody tr")
    texts = rows.all_inner_texts()
    assert len(texts) == 3, texts
    assert "cannot read" in texts[-1], texts
    page.get_by_role("button", name="clip", exact=True).click()
    names = [re.findall(r"\S+\.mp4", one)[0] for one in rows.all_inner_texts()]
    assert names == sorted(names), names


def refusals(visit: Visit) -> None:
    """A text named mp4, a file of three hours and a prompt of 20 kB are refused in one line."""
    page = visit.open()
    tab(page, "Sound for a video")
    for path, said in ((_text(visit), "cannot read"), (_hours(visit), "lasts 3 h")):
        page.locator("#mm-video input[type=file]").first.set_input_files(path)
        page.locator("#mm-video video").wait_for(state="attached")
        page.click("#mm-make-video")
        expect(page.locator("#mm-status-video")).to_contain_text(path.name, timeout=PATIENCE)
        assert said in alert(page, "#mm-status-video")
        page.get_by_label("Clear").first.click()
    tab(page, "Together")
    ask(page, "drum " * 4000)
    page.click("#mm-make-together")
    assert "20,000 letters" in alert(page, "#mm-status-together")


def restored(visit: Visit) -> None:
    """A record that is dropped in restores all settings, and makes the same clip."""
    page = visit.open()
    page.fill("#mm-seed input", "7")
    scale = page.locator("#mm-joint_scale_video input[type=number]")
    scale.fill("4.5")
    scale.blur()
    ask(page, "a bell ringing", 5)
    make(page, "together")
    first = sounds(page, "together")[1]
    record = saved(page, "together", "record", visit.folder)
    other = visit.open()
    other.locator("#mm-record input[type=file]").set_input_files(record)
    expect(other.locator("#mm-said")).to_contain_text("those of the record", timeout=PATIENCE)
    expect(other.locator("#mm-seed input")).to_have_value("7")
    expect(other.locator("#mm-steps input[type=number]")).to_have_value("5")
    expect(other.locator("#mm-joint_scale_video input[type=number]")).to_have_value("4.5")
    expect(other.locator("#mm-prompt textarea")).to_have_value("a bell ringing")
    make(other, "together")
    assert np.array_equal(sounds(other, "together")[1], first), "another clip"


def reloaded(visit: Visit) -> None:
    """A reload in the middle of a clip leaves a page that works."""
    page = visit.open()
    ask(page, steps=100)
    page.click("#mm-make-together")
    expect(page.locator("#mm-status-together")).to_contain_text("step", timeout=PATIENCE)
    page.reload()
    page.locator("#mm-make-together").wait_for()
    # the page that is left says so in the console, which is Gradio's way
    leaving = re.compile(r"console: .*(AbortError|Connection errored out)")
    visit.noticed[:] = [one for one in visit.noticed if not leaving.match(one)]
    ask(page)
    make(page, "together")
    sounds(page, "together")


def two_users(visit: Visit) -> None:
    """Two users at once each get the clip that they asked for."""
    pages = [visit.open(), visit.open()]
    for page, prompt in zip(pages, ("a drum being hit", "a bell ringing"), strict=True):
        ask(page, prompt)
    for page in pages:
        page.click("#mm-make-together")
    for page in pages:
        expect(page.locator("#mm-status-together")).to_contain_text("done", timeout=PATIENCE)
    prompts = []
    for page in pages:
        sounds(page, "together")
        record = saved(page, "together", "record", visit.folder, at=-1 - len(prompts))
        prompts.append(json.loads(record.read_text())["prompt"])
    assert prompts == ["a drum being hit", "a bell ringing"], prompts


def keyboard(visit: Visit) -> None:
    """A clip is made and a tab changed with the keyboard alone."""
    page = visit.open()
    # while Gradio still builds the page, letters that are typed get lost
    page.wait_for_timeout(3000)
    _press_until(page, "#mm-prompt textarea")
    page.keyboard.press("Control+a")
    page.keyboard.type("a lamp blinking", delay=60)
    expect(page.locator("#mm-prompt textarea")).to_have_value("a lamp blinking")
    _press_until(page, "#mm-steps input[type=number]")
    page.keyboard.press("Control+a")
    page.keyboard.type(str(FEW))
    _press_until(page, "#mm-make-together")
    page.keyboard.press("Enter")
    expect(page.locator("#mm-status-together")).to_contain_text("done", timeout=PATIENCE)
    sounds(page, "together")
    _press_until(page, "#mm-tab-video-button", back=True)
    page.keyboard.press("Enter")
    page.locator("#mm-make-video").wait_for()


def accessible(visit: Visit) -> None:
    """Nothing serious is found by axe, in light and dark, and pictures of the page are taken."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    problems: list[str] = []
    for scheme in ("light", "dark"):
        page = visit.open(scheme=scheme)
        ask(page, "a red ball bouncing", 20, candidates=2)
        make(page, "together")
        _picture(visit, page, f"{scheme}-1400")
        page.evaluate(axe)
        for title in ("Together", "Sound for a video", "Video for a sound", "Look inside"):
            tab(page, title)
            page.wait_for_timeout(300)
            found = page.evaluate("axe.run()")["violations"]
            grave = [
                f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
                for one in found
                if one["impact"] in GRAVE
            ]
            problems += [f"{scheme}, {title}: {one}" for one in grave]
        tab(page, "Together")
        page.set_viewport_size({"width": 400, "height": 900})
        page.wait_for_timeout(400)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400, f"{wide} pixels wide"
        _picture(visit, page, f"{scheme}-400")
    assert not problems, "\n".join(dict.fromkeys(problems))


def memory(visit: Visit, clips: int) -> None:
    """Memory does not grow over some clips."""
    page = visit.open()
    ask(page)
    make(page, "together")
    before = _resident(visit.server)
    for _ in range(clips):
        make(page, "together")
    after = _resident(visit.server)
    visit.measured["memory after the first clips, MB"] = before
    visit.measured[f"memory after {2 * clips} more, MB"] = after
    assert after < before * 1.1 + 20, f"{before:.0f} to {after:.0f} MB"


CHECKS: Final[tuple[Check, ...]] = (
    *(together, candidates, cancel, given_video, given_sound, inside, compare, refusals),
    *(restored, reloaded, two_users, keyboard, accessible),
)


def _clip(visit: Visit, page: Page) -> Path:
    ask(page)
    make(page, "together")
    return saved(page, "together", "mp4", visit.folder)


def _text(visit: Visit) -> Path:
    path = visit.folder / "text.mp4"
    path.write_text("this is no video")
    return path


def _hours(visit: Visit) -> Path:
    path = visit.folder / "hours.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, 60))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(180):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(60)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(one) for one in container.demux(video=0) if one.size]


def _samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([one.to_ndarray() for one in container.decode(audio=0)], axis=1)


def _press_until(page: Page, target: str, *, back: bool = False) -> None:
    for _ in range(80):
        if page.evaluate("css => document.activeElement.matches(css)", target):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{target} is not reached by the keyboard")


def _picture(visit: Visit, page: Page, name: str) -> None:
    if visit.pictures is not None:
        page.mouse.move(0, 0)
        path = visit.pictures / f"{name}.jpg"
        page.screenshot(path=path, full_page=True, type="jpeg", quality=70)


def _resident(process: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Serve the page; its address, its process, and the seconds until it could be opened."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mmdisco", "app", "--port", str(port)]
    begin = time.monotonic()
    log = (folder / "server.log").open("w+")
    process = subprocess.Popen(words, stderr=log, env={**os.environ, "TMPDIR": str(folder)})
    try:
        while "is open" not in (folder / "server.log").read_text():
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() - begin < 120, "the page does not open"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/", process.pid, time.monotonic() - begin
    finally:
        process.terminate()
        process.wait(30)
        said = (folder / "server.log").read_text()
        print(re.sub(r"^mmdisco: .*\n", "", said, flags=re.MULTILINE), end="")
        left = [one.name for one in folder.glob("mmdisco-app-*")]
        assert not left, f"the page left {left}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Drives the page of mmdisco app in a browser.")
    parser.add_argument("--browser", default=shutil.which("chromium"))
    parser.add_argument("--only", default="", help="Pattern of the names of checks to run.")
    parser.add_argument("--clips", type=int, default=3, help="Makes of the check of memory.")
    parser.add_argument("--out", type=Path, help="Folder for app.json, a table and pictures.")
    options = parser.parse_args()
    begin, failed = time.monotonic(), 0
    checks: list[tuple[str, str, Check]] = [
        (one.__name__, one.__doc__ or "", one) for one in CHECKS
    ]
    checks.append(("memory", memory.__doc__ or "", lambda visit: memory(visit, options.clips)))
    with (
        tempfile.TemporaryDirectory() as name,
        served(Path(name)) as (url, process, start),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=options.browser, args=BROWSER_ARGS)
        visit = Visit(browser, url, process, Path(name), pictures=_pictures(options.out))
        visit.measured["start of the command, seconds"] = start
        for check, said, run in checks:
            if re.search(options.only, check):
                failed += not _passes(visit, check, said, run)
        browser.close()
    visit.measured["all checks, seconds"] = time.monotonic() - begin
    for key, value in visit.measured.items():
        print(f"{key}: {value:.2f}")
    if options.out is not None and not failed and not options.only:
        _write(options.out, visit.measured)
    sys.exit(1 if failed else 0)


def _pictures(out: Path | None) -> Path | None:
    if out is None:
        return None
    (out / "app").mkdir(parents=True, exist_ok=True)
    return out / "app"


def _passes(visit: Visit, name: str, said: str, run: Check) -> bool:
    begin = time.monotonic()
    problem = ""
    try:
        run(visit)
    except Exception as error:
        problem = str(error).strip() or type(error).__name__
    visit.close()
    if visit.noticed and not problem:
        problem = "; ".join(dict.fromkeys(visit.noticed))
    visit.noticed.clear()
    mark = "FAILED" if problem else "ok"
    print(f"{mark:6} {time.monotonic() - begin:5.1f} s  {name}: {said}", flush=True)
    if problem:
        print(f"       {problem[:1500]}", flush=True)
    return not problem


def _write(out: Path, measured: dict[str, float]) -> None:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    load = os.getloadavg()[1]
    record = {
        "command": "python benchmarks/page_in_browser.py --out docs",
        "machine": machine,
        "load": round(load, 1),
        "cpu_seconds_of_children": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, 1),
        **{key: round(value, 2) for key, value in measured.items()},
    }
    (out / "app.json").write_text(json.dumps(record, indent=1) + "\n")
    page = out / "app.md"
    lines = ["| measured | |", "| --- | --- |"]
    lines += [f"| {key} | {value:.1f} |" for key, value in measured.items()]
    text = re.sub(
        r"(<!-- measured -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n" + "\n".join(lines) + f"\n\n{found[2]}",
        page.read_text(),
        flags=re.DOTALL,
    )
    page.write_text(text)


if __name__ == "__main__":
    main()
