"""Time and memory of ``mmdisco evaluate`` with all offline metrics over 64×64 clips.

``python benchmarks/evaluate_cost.py --clips 100`` writes ``docs/evaluation/cost.json``, scaled to
1,000 clips besides.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mmdisco.evaluation.registry import OFFLINE_METRICS
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_clip

OUT = Path(__file__).parent.parent / "docs" / "evaluation" / "cost.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="What an evaluation costs.")
    parser.add_argument("--clips", type=int, default=1000, help="Generated ones.")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for k in range(options.clips):
            write_clip(root / "made" / f"{k:05}.mp4", example(11, k).clip)
            if k < 80:
                write_clip(root / "real" / f"{k:05}.mp4", example(12, k).clip)
        words = ["--features", "statistics", "--features", "objects", "--jobs", str(options.jobs)]
        for metric in OFFLINE_METRICS:
            words += ["--metrics", metric]
        command = [sys.executable, "-m", "mmdisco", "evaluate", str(root / "made"), *words]
        command += ["--reference", str(root / "real"), "--cache", str(root / "cache")]
        began = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ, capture_output=True)
        took = time.perf_counter() - began
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = options.clips + min(80, options.clips)
    record = {
        "what": "mmdisco evaluate, every offline metric, 64×64 clips of 1.6 s",
        "clips": total,
        "jobs": options.jobs,
        "cores": os.cpu_count(),
        "load before": os.getloadavg()[1],
        "wall seconds": round(took, 1),
        "cpu seconds": round(spent.ru_utime + spent.ru_stime, 1),
        "cpu seconds for 1,000 clips": round((spent.ru_utime + spent.ru_stime) / total * 1000, 1),
        "peak memory of the largest process in GiB": round(spent.ru_maxrss / 2**20, 3),
        **versions("mmdisco", "torch", "librosa"),
    }
    write_json(OUT, record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
