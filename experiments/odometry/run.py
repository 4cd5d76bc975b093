"""Train SfMLearner on a synthetic world and on real frames, compare with true poses, explain, and measure the maps."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
from drives import real, synthetic
from evaluating import measure
from explaining import explain, film
from networks import STAGES, train

from vidcam.media import replacing

HERE = Path(__file__).parent
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", HERE.parents[2] / "shared" / "data"))
SCENE, KITTI = DATA / "kitti_416x128" / "00", DATA / "kitti_odometry" / "dataset" / "sequences"
FILMED = {"kitti_06_grey": KITTI / "06", "kitti_04_color": KITTI / "04", "prepared_00": SCENE}

EVERY = {"synthetic": 4, "real": 1}  # erase in every so-manieth snippet


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    for network in options.networks:
        result = run(options.stage, network, options.work, options.output)
        write_json(options.output / f"{options.stage}_{network}.json", result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("train", "evaluate", "explain", "film"))
    parser.add_argument("--networks", nargs="+", choices=STAGES, default=list(STAGES), help="%(default)s")
    parser.add_argument("--work", type=Path, required=True, help="folder of drives, weights and videos, some 2 GB")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the results (%(default)s)")
    return parser.parse_args()


def run(stage: str, network: str, work: Path, output: Path) -> dict[str, Any]:
    output.mkdir(parents=True, exist_ok=True)
    parts = synthetic(work) if network == "synthetic" else real(work, SCENE)
    if stage == "train":
        return train(network, parts, work)
    if stage == "evaluate":
        return measure(network, parts, work, output)
    if stage == "explain":
        return explain(network, parts["test"], work, output, every=EVERY[network])
    return film(network, FILMED, work, output)


def write_json(path: Path, result: dict[str, Any]) -> None:
    with replacing(path, force=True) as part:
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
