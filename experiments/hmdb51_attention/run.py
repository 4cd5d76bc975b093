"""Train CNN-LSTMs with and without attention on HMDB51's official splits, with several seeds, and gather accuracies."""

import argparse
import json
import statistics
import tomllib
from pathlib import Path
from typing import Any

from vidcam.data.recipes import hmdb51
from vidcam.training.classifier.train import train

HERE = Path(__file__).parent
NETWORKS = tuple(sorted(path.stem for path in HERE.glob("*.toml")))


def main() -> None:
    given = parse()
    for network in given.network:
        configuration = tomllib.loads((HERE / f"{network}.toml").read_text(encoding="utf-8"))
        experiment = configuration["experiment"]
        for split in given.split or experiment["splits"]:
            for seed in given.seed or experiment["seeds"]:
                run(network, split, seed, configuration, given)
    print(json.dumps(gather(given.output), indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="holds videos/ and testTrainMulti_7030_splits/")
    parser.add_argument("--output", type=Path, default=Path("out/hmdb51_attention"), help="folder (%(default)s)")
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--split", nargs="+", type=int, choices=(1, 2, 3), help="instead of the configuration's")
    parser.add_argument("--seed", nargs="+", type=int, help="instead of the configuration's")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=JSON", help="changes to the [train] table")
    return parser.parse_args()


def run(network: str, split: int, seed: int, configuration: dict[str, Any], given: argparse.Namespace) -> None:
    """Train and test once; a run that was cut off goes on, and one that is done is tested again."""
    folder = given.output / network / f"split{split}_seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    changes = {name: json.loads(value) for name, value in (item.split("=", 1) for item in given.set)}
    manifest = make_manifest(folder, given.root, split, configuration["experiment"].get("classes"))
    report = train(manifest, output=folder, seed=seed, resume=True, **configuration["train"] | changes)
    facts = {"split": split, "seed": seed, "top1": report.per_video.top1, "per_clip": report.per_clip.top1}
    (folder / "result.json").write_text(json.dumps(facts))


def make_manifest(folder: Path, root: Path, split: int, classes: list[str] | None) -> Path:
    """Write the manifest of an official split, of some classes if they are named."""
    path = folder / "manifest.csv"
    if not path.exists():
        videos = hmdb51.collect(root, split=split)
        if classes:
            videos.labels = sorted(classes)
            videos.rows = [row for row in videos.rows if row.label in classes]
        videos.write(path)
    return path


def gather(output: Path) -> dict[str, Any]:
    """Return per network the mean over splits of each seed, and their mean and spread."""
    found: dict[str, Any] = {}
    for network in NETWORKS:
        results = [json.loads(p.read_text()) for p in sorted((output / network).glob("*/result.json"))]
        seeds = sorted({result["seed"] for result in results})
        means = [statistics.mean(r["top1"] for r in results if r["seed"] == seed) for seed in seeds]
        if means:
            spread = statistics.stdev(means) if len(means) > 1 else None
            found[network] = {"mean": statistics.mean(means), "deviation": spread, "runs": results}
    return found


if __name__ == "__main__":
    main()
