"""Learn three motions from some colors and shapes and test on others; gather accuracies over seeds."""

import argparse
import json
import os
import statistics
import time
import tomllib
from pathlib import Path
from typing import Any

import torch

from vidcam.data.recipes.folder import collect
from vidcam.training.classifier.train import train

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", ROOT.parent / "shared" / "data"))
HELD_OUT = ("bluegreen/*", "*/star")  # COLOR/SHAPE: every clip that has either is tested on


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    given.output.mkdir(parents=True, exist_ok=True)
    manifest = make_manifest(given.output)
    results = [run(manifest, seed, given) for seed in given.seeds]
    top1 = [result["top1"] for result in results]
    spread = statistics.stdev(top1) if len(top1) > 1 else None
    print(json.dumps({"mean": statistics.mean(top1), "deviation": spread, "runs": results}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/colored_shapes"), help="folder (%(default)s)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="see only that it runs: one epoch")
    return parser.parse_args()


def make_manifest(folder: Path) -> Path:
    """Split by color and shape with the recipe for folders of videos."""
    path = folder / "manifest.csv"
    if not path.exists():
        collect(DATA / "colored_shapes", group="(.+)_(.+)_", test_groups=HELD_OUT).write(path)
    return path


def run(manifest: Path, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train and test once; a run that was cut off goes on, and one that is done is tested again."""
    arguments = tomllib.loads((HERE / "r2plus1d_mini.toml").read_text(encoding="utf-8"))
    arguments |= {"epochs": 1} if given.quick else {}
    start = time.process_time()
    report = train(manifest, output=given.output / str(seed), seed=seed, resume=True, logger="csv", **arguments)
    seconds = round(time.process_time() - start)
    return {"seed": seed, "top1": report.per_video.top1, "per_class": report.per_class, "cpu_seconds": seconds}


if __name__ == "__main__":
    main()
