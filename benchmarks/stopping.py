"""Kills commands and presses Ctrl-C at random moments, and runs each again to its end.

``python benchmarks/stopping.py`` writes ``docs/stopping.json`` and the table in ``stopping.md``.
Results must be those of an uninterrupted run, byte by byte but for what ``CLOCKS`` names; no file
may be there that it does not have, its temporary folder included, and no process may live on; every
Ctrl-C ends in one line and status 130. What the JSON holds of the same request is not run again.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from forking import Ended, run, warm

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BEGIN, END = "<!-- stopping: begin -->", "<!-- stopping: end -->"
CLIPS = 24
MOST_IN_A_ROW = 3  # kills before a run may go to its end
CLOCKS = re.compile(r"seconds|samples_per_second|CPU s(econds)? a clip")
SHOW_CLOCKS = re.compile(r"work/out/loss/(table\.csv|table\.md|index\.html|plot\.png)")
SMALL = {
    "discriminator.width": 8,
    "discriminator.tokens": 8,
    "discriminator.num_layers": 1,
    "discriminator.num_heads": 2,
    "training.steps": 24,
    "training.batch_size": 4,
    "training.log_every": 2,
    "training.checkpoint_every": 4,
    "validation.every": 8,
    "validation.levels": 2,
    "validation.clips": 1,
    "validation.clips_every": 12,
    "validation.clip_steps": 2,
}


def commands(base: Path) -> dict[str, list[str]]:
    """The words of each command; ``base`` is what ``write_inputs`` made."""
    pair = f"--weights {base}/pair"
    settings = " ".join(f"--set {key}={value}" for key, value in SMALL.items())
    lines = (
        f"prepare {base}/films --out out {pair} --shard-size 2",
        f"sample-fakes {base}/prepared --out out {pair} --shard-size 2 --steps 8 "
        "--samples-per-clip 2",
        f"train --data {base}/prepared --fakes {base}/fakes {pair} --out out {settings}",
        f"evaluate {base}/made --reference {base}/real --metrics neighbours --metrics nearest "
        "--jobs 1 --cache read --json out.json --report out.html",
        f"experiments ablate loss --quick {pair} --out out --jobs 1",
        "experiments toy --problem mixture --setting ind --loss both --seeds 1 --steps 60 "
        "--samples 500 --out out --jobs 1",
    )
    prompts = ["a red ball bouncing", "a drum being hit"]
    small = f"{pair} --samples 2 --steps 8 --wav --out out/clip.mp4 --quiet".split()
    found = {"generate": ["generate", *prompts, *small]}
    words = [line.split() for line in lines]
    return found | {one[1] if one[0] == "experiments" else one[0]: one for one in words}


def write_inputs(base: Path) -> None:
    """Make what the commands read, in a process of its own: nothing may be computed in this one."""
    sys.path.insert(0, str(ROOT / "tests"))
    from filmmaking import moving
    from tinypair import write_tiny_pair

    from mmdisco.media.sounding_objects.dataset import example
    from mmdisco.media.write import write_clip

    write_tiny_pair(base / "pair")
    (base / "films").mkdir(parents=True)
    for seed in range(4):
        moving(base / "films" / f"{seed}.mkv", seed, 4.9)
    for k in range(CLIPS):
        write_clip(base / "real" / f"{k:02}.mp4", example(0, k).clip)
        write_clip(base / "made" / f"{k:02}.mp4", example(1, k).clip)


def prepare_inputs(base: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=write_inputs, args=(base,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the inputs could not be made")
    words = commands(base)
    for name, folder in (("prepare", "prepared"), ("sample-fakes", "fakes")):
        expect_end(run(words[name], base / f"{name}-of-input"))
        (base / f"{name}-of-input" / "work" / "out").rename(base / folder)


def expect_end(ended: Ended) -> Ended:
    if ended.status:
        raise SystemExit(f"an uninterrupted run ended with status {ended.status}:\n{ended.said}")
    return ended


def contents(place: Path) -> dict[str, bytes]:
    """All files of a run, without what tells of clocks."""
    return {
        _name(path.relative_to(place)): _timeless(path, place)
        for path in sorted(place.rglob("*"))
        if not path.is_dir()
    }


def _name(path: Path) -> str:
    # a log of events begins at every start and is named after the clock
    return re.sub(r"events\.out\.tfevents.*", "events", str(path))


def _timeless(path: Path, place: Path) -> bytes:
    if "tfevents" in path.name or SHOW_CLOCKS.fullmatch(str(path.relative_to(place))):
        return b""
    read = path.read_bytes()
    if path.suffix not in (".json", ".jsonl"):
        return read
    try:
        return json.dumps(_without_clocks(json.loads(read))).encode()
    except ValueError:  # a line each, or a file that only begins as JSON
        lines = read.splitlines()
        if not all(line.startswith(b"{") and line.endswith(b"}") for line in lines):
            return read
        return b"\n".join(json.dumps(_without_clocks(json.loads(line))).encode() for line in lines)


def _without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_clocks(v) for k, v in value.items() if not CLOCKS.fullmatch(k)}
    return [_without_clocks(one) for one in value] if isinstance(value, list) else value


@dataclass
class Count:
    """What came of one command.

    Attributes:
        moments: Seconds after the start at which it was stopped, of an uninterrupted run's seconds.
        unequal: Files whose bytes differ, or that are missing.
        leftovers: Files that an uninterrupted run does not have, and processes that lived on.
        wrong: What was said instead of one line, with the status.
    """

    kills: int = 0
    interrupts: int = 0
    trials: int = 0
    equal: int = 0
    lines: int = 0
    seconds: float = 0.0
    moments: list[float] = field(default_factory=list)
    unequal: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        whole = self.equal == self.trials and self.lines == self.interrupts
        return whole and not self.leftovers and not self.wrong


@dataclass
class Trial:
    """Stops of one run in one folder, and what they leave."""

    words: list[str]
    place: Path
    whole: dict[str, bytes]
    count: Count
    law: random.Random
    usual: frozenset[str] = frozenset()

    def stop(self, number: signal.Signals, times: int) -> int:
        """Stop it so many times at most; how often it was. Then let it go to its end."""
        done = 0
        for _ in range(times):
            moment = self.law.uniform(0, self.count.seconds)
            ended = run(self.words, self.place, number, moment)
            if ended.orphans:
                self.count.leftovers.append(f"{ended.orphans} processes")
            if not ended.stopped or ended.status == 0:
                expect_end(ended)
                break  # it was quicker
            self.count.moments.append(round(moment, 2))
            done += 1
            if number == signal.SIGINT:
                self._heard(ended)
        ended = run(self.words, self.place)
        if ended.status:
            self.count.wrong.append(f"run again: status {ended.status}: {ended.said[-2000:]}")
        self._compare()
        shutil.rmtree(self.place)
        return done

    def _heard(self, ended: Ended) -> None:
        # progress, and what an uninterrupted run says too, are no part of the answer to Ctrl-C
        lines = [
            one for one in ended.said.splitlines() if " passed" not in one and one not in self.usual
        ]
        said = [one for one in lines if one.startswith("mmdisco: stopped; ")]
        if ended.status == 130 and len(said) == 1 and "the same command" in said[0]:
            self.count.lines += lines == said
        if lines != said or len(said) != 1 or ended.status != 130:
            self.count.wrong.append(f"status {ended.status}: {ended.said[-2000:]}")

    def _compare(self) -> None:
        found = contents(self.place)
        differ = [name for name, value in self.whole.items() if found.get(name) != value]
        self.count.leftovers += sorted(found.keys() - self.whole.keys())
        self.count.unequal += differ
        self.count.trials += 1
        self.count.equal += not differ


def measure(words: list[str], base: Path, asked: argparse.Namespace) -> Count:
    """Stop one command as often as asked."""
    law = random.Random(f"{asked.seed} {words[0]}")
    places = [base / f"whole-{k}" for k in range(2)]
    ended = [expect_end(run(words, place)) for place in places]
    whole, again = (contents(place) for place in places)
    if differ := sorted(key for key in whole | again if whole.get(key) != again.get(key)):
        raise SystemExit(f"two uninterrupted runs of {words[0]} differ in {', '.join(differ)}")
    if asked.keep:
        shutil.copytree(places[0], asked.keep / words[0], dirs_exist_ok=True)
    usual = frozenset(line for one in ended for line in one.said.splitlines())
    count = Count(seconds=min(one.seconds for one in ended))
    for place in places:
        shutil.rmtree(place)
    while count.kills < asked.kills:
        times = min(law.randint(1, MOST_IN_A_ROW), asked.kills - count.kills)
        trial = Trial(words, base / str(count.trials), whole, count, law, usual)
        count.kills += trial.stop(signal.SIGKILL, times)
    while count.interrupts < asked.interrupts:
        trial = Trial(words, base / str(count.trials), whole, count, law, usual)
        count.interrupts += trial.stop(signal.SIGINT, 1)
    return count


def table(record: dict[str, Any]) -> str:
    head = ("command", "seconds", "kills", "Ctrl-C", "equal results", "leftovers", "lines")
    rows = [
        (
            f"`{name}`",
            f"{one['seconds']:.1f}",
            one["kills"],
            one["interrupts"],
            f"{one['equal']} of {one['trials']}",
            len(one["leftovers"]),
            f"{one['lines']} of {one['interrupts']}",
        )
        for name, one in record["commands"].items()
    ]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    said = ", ".join(f"{key} {value}" for key, value in record["versions"].items())
    return (
        "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
        + f"\n\nSeed {record['seed']}; {said}. [stopping.json](stopping.json) holds the moments."
    )


def write(record: dict[str, Any], path: Path, page: Path) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n{table(record)}\n{END}{after}", encoding="utf-8")


def opened(path: Path, seed: int) -> dict[str, Any]:
    """What was measured before with the same seed and versions, to go on from."""
    versions = {"Python": platform.python_version()}
    versions |= {name: version(name) for name in ("mmdisco", "torch")}
    record = {"seed": seed, "versions": versions, "commands": {}}
    if path.exists():
        before = json.loads(path.read_text())
        if (before["seed"], before["versions"]) == (seed, versions):
            record["commands"] = before["commands"]
    return record


def arguments(names: Iterable[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", nargs="+", choices=list(names), default=list(names))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--interrupts", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=DOCS / "stopping.json")
    parser.add_argument("--page", type=Path, default=DOCS / "stopping.md")
    parser.add_argument("--inputs", type=Path, help="folder for what commands read, made once")
    parser.add_argument("--keep", type=Path, help="folder for copies of uninterrupted runs")
    return parser.parse_args()


@contextmanager
def _temporary() -> Generator[Path]:
    # TemporaryDirectory would delete it at the end of every forked process too
    base = Path(mkdtemp())
    try:
        yield base
    finally:
        shutil.rmtree(base)


def main() -> None:
    asked = arguments(commands(Path()))
    record = opened(asked.json, asked.seed)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    warm()
    with _temporary() as base:
        os.environ["MPLCONFIGDIR"] = str(base / "matplotlib")
        inputs = asked.inputs.resolve() if asked.inputs else base / "inputs"
        if not (inputs / "fakes").exists():
            prepare_inputs(inputs)
        for name in asked.commands:
            had = record["commands"].get(name, {})
            if (had.get("kills"), had.get("interrupts")) == (asked.kills, asked.interrupts):
                continue
            began = time.monotonic()
            try:
                count = measure(commands(inputs)[name], base / name, asked)
            except SystemExit as failed:
                print(f"{name}: {failed}", flush=True)
                continue
            order = {**record["commands"], name: asdict(count)}
            record["commands"] = {key: order[key] for key in commands(base) if key in order}
            write(record, asked.json, asked.page)
            said = "holds" if count.holds else "DOES NOT HOLD"
            print(f"{name}: {said}, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
