"""Whether every clip of a report plays: ``python benchmarks/report_in_browser.py REPORT.html``.

Opens the page in headless Chromium (``--browser``), plays all clips, for at most half a minute, and
prints how far each came; exit status 1 if one did not come to a moving picture and a sound.
"""

import argparse
import http.server
import json
import subprocess
import tempfile
import threading
from pathlib import Path

PROBE = """<script>(async () => {
const clips = [...document.querySelectorAll("video")];
for (const one of clips) { one.muted = true; await one.play().catch(() => 0); }
const far = clips.map(() => 0);
for (let tries = 0; tries < 300 && far.some((one) => one < 0.5); tries++) {
  await new Promise((done) => setTimeout(done, 100));
  clips.forEach((one, k) => { far[k] = Math.max(far[k], one.currentTime); });
}
await fetch("/found", {method: "POST", body: JSON.stringify(clips.map((one, k) => ({
  ready: one.readyState, seconds: far[k], of: one.duration, width: one.videoWidth,
  frames: one.getVideoPlaybackQuality().totalVideoFrames,
  sound: one.webkitAudioDecodedByteCount, error: one.error && one.error.message})))});
})();</script>"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Plays the clips of a report in a browser.")
    parser.add_argument("report", type=Path)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--port", type=int, default=8931)
    parser.add_argument("--seconds", type=int, default=240, help="To wait for the browser.")
    options = parser.parse_args()
    page = (options.report.read_text() + PROBE).encode()
    found: list[dict] = []
    done = threading.Event()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self) -> None:
            found.extend(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        words += ["--autoplay-policy=no-user-gesture-required"]
        command = [options.browser, *words, f"http://127.0.0.1:{options.port}/"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            done.wait(options.seconds)
            run.terminate()
    for one in found:
        print(json.dumps(one))
    played = [one["seconds"] >= 0.5 and one["frames"] > 1 and one["sound"] > 0 for one in found]
    print(f"{sum(played)} of {len(found)} clips play")
    raise SystemExit(0 if found and all(played) else 1)


if __name__ == "__main__":
    main()
