"""Whether the page of ``mmdisco app`` works: ``python benchmarks/page_in_browser.py [--out docs]``.

Serves the page and drives it in headless Chromium (``--browser``) as users would. Prints a line for
each check; exit status 1 if one failed. With ``--out`` it writes app.json, a table of what it
measured and pictures of the page there. ``--only PATTERN`` runs the checks of such names,
``--quick`` four of them.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from page_checks import CHECKS, QUICK, Check, memory
from page_visit import Visit
from playwright.sync_api import sync_playwright

BROWSER_ARGS: Final = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


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
    parser.add_argument("--quick", action="store_true", help="Run four checks.")
    parser.add_argument("--clips", type=int, default=3, help="Makes of the check of memory.")
    parser.add_argument("--out", type=Path, help="Folder for app.json, a table and pictures.")
    options = parser.parse_args()
    begin, failed = time.monotonic(), 0
    checks = [(one.__name__, one.__doc__ or "", one) for one in CHECKS]
    checks.append(("memory", memory.__doc__ or "", lambda visit: memory(visit, options.clips)))
    quick = [one.__name__ for one in QUICK]
    chosen = [one for one in checks if re.search(options.only, one[0])]
    chosen = [one for one in chosen if one[0] in quick or not options.quick]
    with (
        tempfile.TemporaryDirectory() as name,
        served(Path(name)) as (url, process, start),
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(executable_path=options.browser, args=BROWSER_ARGS)
        visit = Visit(browser, url, process, Path(name), pictures=_pictures(options.out))
        visit.measured["start of the command, seconds"] = start
        for check, said, run in chosen:
            failed += not _passes(visit, check, said, run)
        browser.close()
    visit.measured["all checks, seconds"] = time.monotonic() - begin
    for key, value in visit.measured.items():
        print(f"{key}: {value:.2f}")
    if options.out is not None and not failed and len(chosen) == len(checks):
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
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine,
        "load": round(load, 1),
        "cpu_seconds_of_children": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, 1),
        **{key: round(value, 2) for key, value in measured.items()},
    }
    (out / "app.json").write_text(json.dumps(record, indent=1) + "\n")
    page = out / "app.md"
    lines = ["| measured | |", "| --- | --- |"]
    lines += [f"| {key} | {value:.1f} |" for key, value in measured.items()]
    lines += [
        f"| load of the machine's {os.cpu_count()} cores meanwhile, itself included | {load:.1f} |"
    ]
    text = re.sub(
        r"(<!-- measured -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n" + "\n".join(lines) + f"\n\n{found[2]}",
        page.read_text(),
        flags=re.DOTALL,
    )
    page.write_text(text)


if __name__ == "__main__":
    main()
