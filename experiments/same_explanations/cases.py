"""The command lines whose results are compared, and the videos they are run on."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

DATA = Path(os.environ.get("VIDCAM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
PREPARED, FRAMES = DATA / "kitti_416x128" / "00", 24
DEMO = "demo"
"""The case that makes the clip which others explain, and the name of that clip."""
METHODS = (
    "cam",
    "counterfactual",
    "eigen_cam",
    "fem",
    "grad_cam_pp",
    "hires_cam",
    "layer_cam",
    "sharpen_focus",
    "smooth_grad_cam_pp",
    "x_grad_cam",
)


class Case(NamedTuple):
    """One command line: `vidcam COMMAND SOURCE OPTIONS`."""

    source: str
    """A name of `sources`; empty where the command makes its own clip."""
    options: str
    command: str = "explain"

    def arguments(self, sources: dict[str, Path]) -> list[str]:
        """Return the command line behind `python -m vidcam`, without the output's folder."""
        return [self.command, *([str(sources[self.source])] if self.source else []), *self.options.split()]


def _demo(options: str) -> Case:
    return Case(DEMO, f"--model demo {options}")


def _random(source: str, model: str, options: str = "", command: str = "explain") -> Case:
    return Case(source, f"--model {model} --weights none {options}".strip(), command)


CASES: dict[str, Case] = {
    DEMO: Case("", "", "demo"),
    **{method: _demo(f"--method {method}") for method in METHODS},
    "target": _demo("--target up"),
    "when_none": _demo("--when none"),
    "when_input": _demo("--when input"),
    "centers": _demo("--placement centers,centers"),
    "effective": _demo("--placement effective,effective"),
    "pooling_clip": _demo("--pooling clip"),
    "hop": _demo("--hop 0.5"),
    "r3d_golf": _random("golf", "r3d_18"),
    "r3d_shoot_bow": _random("shoot_bow", "r3d_18"),
    "r3d_wave": _random("wave", "r3d_18"),
    "lstm": _random("wave", "cnn_lstm"),
    "lstm_attention": _random("wave", "cnn_lstm_attention"),
    "rank": _random("side", "cnn_lstm_attention", "--draws 1", "rank"),
    "drive_tz": _random("drive", "sfmlearner", "--target tz --signed"),
    "drive_loss": _random("drive", "sfmlearner", "--target loss"),
    "kitti_tz": _random("kitti", "sfmlearner", "--target tz --signed"),
    "mvit": _random("wave", "mvit_v2_s"),
    "swin": _random("wave", "swin3d_t"),
}


def find_sources(folder: Path) -> dict[str, Path]:
    """Name every video; those that are made for the comparison lie in the folder."""
    hmdb = {
        name: next((DATA / "hmdb51" / "videos" / name).glob("*.avi"), None) for name in ("golf", "shoot_bow", "wave")
    }
    return {
        **{name: path for name, path in hmdb.items() if path is not None},
        DEMO: folder / "demo.mp4",
        "side": DATA / "weizmann" / "side" / "daria_side.avi",
        "drive": short_drive(folder / "drive"),
        "kitti": DATA / "kitti_odometry" / "dataset" / "sequences" / "04",
    }


def short_drive(folder: Path) -> Path:
    """Copy the first frames of a prepared drive, with the camera's intrinsics and poses."""
    folder.mkdir(parents=True)
    for path in sorted(PREPARED.glob("*.jpg"))[:FRAMES]:
        shutil.copy(path, folder)
    if PREPARED.is_dir():
        shutil.copy(PREPARED / "cam.txt", folder)
        poses = (PREPARED / "poses.txt").read_text().splitlines(keepends=True)
        (folder / "poses.txt").write_text("".join(poses[:FRAMES]))
    return folder
