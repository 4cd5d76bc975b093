"""Train on four of Weizmann's people and test on the other two, three times, and gather accuracies."""

import argparse
import inspect
import json
import os
import statistics
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from cached import train_head

from vidcam.data.recipes.folder import collect
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.classifier.testing import test
from vidcam.training.classifier.train import train

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", ROOT.parent / "shared" / "data"))
HELD_OUT = (("daria", "denis"), ("eli", "ido"), ("ira", "lena"))
NETWORKS = ("cnn_lstm", "cnn_lstm_attention", "r2plus1d_mini")


def main() -> None:
    given = parse()
    torch.set_num_threads(given.threads)
    for network in given.network:
        for rotation in given.rotation:
            run(network, rotation, given)
    print(json.dumps(gather(given.output), indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/weizmann"), help="folder (%(default)s)")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rotation", nargs="+", type=int, choices=range(3), default=range(3), help="who is held out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="compute frozen features anew in every epoch")
    parser.add_argument("--quick", action="store_true", help="see only that it runs: one epoch")
    return parser.parse_args()


def run(network: str, rotation: int, given: argparse.Namespace) -> None:
    """Train and test once; a plain run that was cut off goes on, and one that is done is tested again."""
    folder = given.output / network / str(rotation)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = read(HERE / f"{network}.toml") | ({"epochs": 1} if given.quick else {})
    manifest = make_manifest(folder, HELD_OUT[rotation])
    start = time.process_time()
    if arguments["options"].get("freeze") and not given.plain:
        checkpoint = folder / "checkpoint.safetensors"
        train_head(manifest, settings(arguments), cache=given.output / "features.pt", checkpoint=checkpoint)
        report = test(manifest, checkpoint=checkpoint, output=folder, progress=False)
    else:
        report = train(manifest, output=folder, resume=True, logger="csv", progress=False, **arguments)
    facts = {"top1": report.per_video.top1, "cpu_seconds": round(time.process_time() - start)}
    facts |= {"per_clip": report.per_clip.top1, "per_class": report.per_class}
    (folder / "result.json").write_text(json.dumps(facts))


def settings(arguments: dict[str, Any]) -> ClassifierSettings:
    """The settings that `train` makes of these arguments."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(train).parameters.items()}
    chosen = defaults | arguments
    return ClassifierSettings(**{name: chosen[name] for name in inspect.signature(ClassifierSettings).parameters})


def read(path: Path) -> dict[str, Any]:
    """Read a configuration; {data} in it is where the data lies."""
    found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8").replace("{data}", str(DATA)))
    return found


def make_manifest(folder: Path, people: tuple[str, str]) -> Path:
    """Split by person with the recipe for folders of videos."""
    path = folder / "manifest.csv"
    if not path.exists():
        collect(DATA / "weizmann", group="^[^_]+", test_groups=people).write(path)
    return path


def gather(output: Path) -> dict[str, Any]:
    """Return mean and spread over the rotations that are done."""
    found: dict[str, Any] = {}
    for network in NETWORKS:
        results = [json.loads(p.read_text()) for p in sorted((output / network).glob("*/result.json"))]
        if results:
            top1 = [result["top1"] for result in results]
            found[network] = {
                "accuracy": [round(value, 4) for value in top1],
                "mean": round(statistics.mean(top1), 4),
                "deviation": round(statistics.stdev(top1), 4) if len(top1) > 1 else None,
                "per_clip": [round(result["per_clip"], 4) for result in results],
                "cpu_seconds": [result["cpu_seconds"] for result in results],
            }
    return found


if __name__ == "__main__":
    main()
