"""What the checks of the page do as users: open it, fill in, press, listen, save, upload."""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page, expect

PATIENCE: Final = 120_000  # milliseconds for one clip on a busy machine
FEW: Final = 4  # steps of a clip whose looks do not matter
LOUD: Final = 1e-3  # root mean square of a sound that can be heard
DECODED: Final = """async (video) => {
  const bytes = await (await fetch(video.src)).arrayBuffer();
  const sound = await new AudioContext().decodeAudioData(bytes);
  return Array.from(sound.getChannelData(0));
}"""


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
    path = folder / f"{name}-{download.value.suggested_filename}"
    download.value.save_as(path)
    return path


def attach(page: Page, where: str, *paths: Path) -> None:
    """Upload files, and wait until they are there."""
    page.locator(f"{where} input[type=file]").first.set_input_files([*paths])
    there = f"{where} video, {where} audio, {where} [data-testid^=waveform], {where} td.filename"
    page.locator(there).nth(len(paths) - 1).wait_for(state="attached")


def alert(page: Page, where: str) -> str:
    line = page.locator(f"{where} [role=alert]")
    line.wait_for()
    said = line.inner_text()
    assert "\n" not in said, said
    return said


def a_clip(visit: Visit, page: Page) -> Path:
    ask(page)
    make(page, "together")
    return saved(page, "together", "mp4", visit.folder)


def a_text(visit: Visit) -> Path:
    path = visit.folder / "text.mp4"
    path.write_text("this is no video")
    return path


def three_hours(visit: Visit) -> Path:
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


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(one) for one in container.demux(video=0) if one.size]


def samples(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([one.to_ndarray() for one in container.decode(audio=0)], axis=1)


def press_until(page: Page, target: str, *, back: bool = False) -> None:
    for _ in range(80):
        if page.evaluate("css => document.activeElement.matches(css)", target):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"{target} is not reached by the keyboard")


def picture(visit: Visit, page: Page, name: str) -> None:
    if visit.pictures is not None:
        page.mouse.move(0, 0)
        path = visit.pictures / f"{name}.jpg"
        page.screenshot(path=path, full_page=True, type="jpeg", quality=70)


def resident(process: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")
