"""Checks of the page of ``mmdisco app``, each by its name."""

import json
import re
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Final

import numpy as np
from page_visit import (
    FEW,
    PATIENCE,
    Visit,
    a_clip,
    a_text,
    alert,
    ask,
    attach,
    make,
    packets,
    picture,
    press_until,
    resident,
    samples,
    saved,
    sounds,
    tab,
    three_hours,
)
from playwright.sync_api import Page, expect

Check = Callable[[Visit], None]
GRAVE: Final = ("serious", "critical")
TITLES: Final = {
    "together": "Together",
    "video": "Sound for a video",
    "audio": "Video for a sound",
    "inside": "Look inside",
    "compare": "Compare",
}


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
    clip = a_clip(visit, page)
    tab(page, "Sound for a video")
    attach(page, "#mm-video", clip)
    make(page, "video")
    sounds(page, "video")
    result = saved(page, "video", "mp4", visit.folder)
    assert packets(result) == packets(clip), "the picture was changed"


def given_sound(visit: Visit) -> None:
    """A video is made for a sound, which is untouched."""
    page = visit.open()
    a_clip(visit, page)
    wav = saved(page, "together", "wav", visit.folder)
    tab(page, "Video for a sound")
    attach(page, "#mm-audio", wav)
    make(page, "audio")
    sounds(page, "audio")
    own, made = samples(wav), samples(saved(page, "audio", "wav", visit.folder))
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
    """Clips are compared by two judges, sorted, and a file that is none has its reason."""
    page = visit.open()
    compared(visit, page)
    rows = page.locator("#mm-result-compare tbody tr")
    texts = rows.all_inner_texts()
    assert len(texts) == 3, texts
    assert "cannot read" in texts[-1], texts
    for column in ("logit", "sync score", "event F1", "events seen", "events heard"):
        page.locator("#mm-result-compare th").get_by_role("button", name=column, exact=True).click()
        cells = page.locator("#mm-result-compare th").all_inner_texts()
        place = next(k for k, one in enumerate(cells) if one.startswith(column)) + 1
        found = page.locator(f"#mm-result-compare tbody td:nth-child({place})").all_inner_texts()
        numbers = [float(one) for one in found[:2]]
        assert numbers == sorted(numbers), (column, found)
    page.get_by_role("button", name="clip", exact=True).click()
    names = [re.findall(r"\S+\.mp4", one)[0] for one in rows.all_inner_texts()]
    assert names == sorted(names), names


def compared(visit: Visit, page: Page) -> None:
    """Compare two clips and a text."""
    clip = a_clip(visit, page)
    other = saved(page, "together", "mp4", visit.folder, at=0)
    tab(page, "Compare")
    attach(page, "#mm-compare", clip, other, a_text(visit))
    make(page, "compare")


def sound_prompt(visit: Visit) -> None:
    """A prompt of the sound changes the sound, and is refused beside a given one."""
    page = visit.open()
    ask(page, "a drum being hit")
    make(page, "together")
    plain = sounds(page, "together")[0]
    page.fill("#mm-audio_prompt textarea", "a bell ringing")
    make(page, "together")
    assert not np.array_equal(sounds(page, "together")[0], plain), "the same sound"
    wav = saved(page, "together", "wav", visit.folder)
    tab(page, "Video for a sound")
    attach(page, "#mm-audio", wav)
    page.click("#mm-make-audio")
    assert "no effect on a given sound" in alert(page, "#mm-status-audio")


def two_models(visit: Visit) -> None:
    """Two models are named by their ids, and one that is not here or a folder is refused."""
    page = visit.open()
    names = page.locator("#mm-video_model textarea, #mm-audio_model textarea")
    expect(names).to_have_count(0)
    choose(page, "two models")
    for video, said in (
        ("", "name both models"),
        ("no/such", "the hub gives no pipeline of that id"),
        ("/etc/ssl", "give the id of a model"),
    ):
        for name, one in (("video", video), ("audio", "nobody/nothing")):
            page.fill(f"#mm-{name}_model textarea", one)
        page.click("#mm-make-together")
        expect(page.locator("#mm-status-together")).to_contain_text(said, timeout=PATIENCE)
        alert(page, "#mm-status-together")
    choose(page, "embedded")
    expect(names).to_have_count(0)
    ask(page)
    page.click("#mm-make-together")
    expect(page.locator("#mm-status-together")).to_contain_text("done", timeout=PATIENCE)


def choose(page: Page, model: str) -> None:
    """Choose among the models of the menu."""
    page.locator("#mm-preset input").click()
    page.get_by_role("option", name=model).click()


def phone(visit: Visit) -> None:
    """At 400 pixels the tabs and the button come before the settings, and every tab is reached."""
    page = visit.open(width=400)
    places = ("#mm-prompt", "[role=tablist]", "#mm-make-together", "#mm-preset", "#mm-steps")
    boxes = [page.locator(one).last.bounding_box() for one in places]
    heights = [box["y"] for box in boxes if box is not None]
    assert len(heights) == len(places), places
    assert heights == sorted(heights), heights
    for name, title in TITLES.items():
        tab(page, title)
        page.locator(f"#mm-make-{name}").wait_for()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 400, f"{wide} pixels wide"


def refusals(visit: Visit) -> None:
    """A text named mp4, a file of three hours and a prompt of 20 kB are refused in one line."""
    page = visit.open()
    tab(page, "Sound for a video")
    for path, said in ((a_text(visit), "cannot read"), (three_hours(visit), "lasts 3 h")):
        attach(page, "#mm-video", path)
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
    page.fill("#mm-audio_prompt textarea", "a drum being hit")
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
    expect(other.locator("#mm-audio_prompt textarea")).to_have_value("a drum being hit")
    make(other, "together")
    assert np.array_equal(sounds(other, "together")[1], first), "another clip"
    values = json.loads(record.read_text())
    del values["preset"]
    ids = {"video_model": "a/video", "audio_model": "an/audio", "discriminator": "a/judge"}
    record.write_text(json.dumps(values | ids))
    third = visit.open()
    third.locator("#mm-record input[type=file]").set_input_files(record)
    for name, one in ids.items():
        expect(third.locator(f"#mm-{name} textarea")).to_have_value(one, timeout=PATIENCE)
    expect(third.locator("#mm-preset input")).to_have_value(re.compile("^two models"))


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
    press_until(page, "#mm-prompt textarea")
    page.keyboard.press("Control+a")
    page.keyboard.type("a lamp blinking", delay=60)
    expect(page.locator("#mm-prompt textarea")).to_have_value("a lamp blinking")
    press_until(page, "#mm-steps input[type=number]")
    page.keyboard.press("Control+a")
    page.keyboard.type(str(FEW))
    press_until(page, "#mm-make-together", back=True)
    page.keyboard.press("Enter")
    expect(page.locator("#mm-status-together")).to_contain_text("done", timeout=PATIENCE)
    sounds(page, "together")
    press_until(page, "#mm-tab-video-button", back=True)
    page.keyboard.press("Enter")
    page.locator("#mm-make-video").wait_for()


def accessible(visit: Visit) -> None:
    """Nothing serious is found by axe in any tab, wide and narrow, in light and dark."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    problems: list[str] = []
    for scheme in ("light", "dark"):
        page = visit.open(scheme=scheme)
        page.evaluate(axe)
        compared(visit, page)
        ask(page, "a red ball bouncing", 20, candidates=2)
        tab(page, "Together")
        make(page, "together")
        for width in (1400, 400):
            page.set_viewport_size({"width": width, "height": 900})
            for title in reversed(TITLES.values()):
                tab(page, title)
                page.wait_for_timeout(400)
                found = page.evaluate("axe.run()")["violations"]
                grave = [
                    f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
                    for one in found
                    if one["impact"] in GRAVE
                ]
                problems += [f"{scheme}, {width}, {title}: {one}" for one in grave]
                if title == "Together":
                    picture(visit, page, f"{scheme}-{width}")
                if (title, scheme) == ("Compare", "light"):
                    picture(visit, page, f"compare-{width}")
    assert not problems, "\n".join(dict.fromkeys(problems))


def memory(visit: Visit, clips: int) -> None:
    """Memory does not grow over some clips."""
    page = visit.open()
    ask(page)
    make(page, "together")
    before = resident(visit.server)
    for _ in range(clips):
        make(page, "together")
    after = resident(visit.server)
    visit.measured["memory after the first clips, MB"] = before
    visit.measured[f"memory after {2 * clips} more, MB"] = after
    assert after < before * 1.1 + 20, f"{before:.0f} to {after:.0f} MB"


CHECKS: Final[tuple[Check, ...]] = (
    *(together, candidates, sound_prompt, cancel, given_video, given_sound, inside, compare),
    *(two_models, refusals, restored, reloaded, two_users, keyboard, phone, accessible),
)
QUICK: Final = (together, given_video, refusals, restored)
"""Checks that find most in little time."""
