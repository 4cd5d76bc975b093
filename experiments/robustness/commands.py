"""Commands with nonsense among their options, typed or from a file, on small files that are sound."""

import io
import json
import random
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path
from typing import Any

import material
import numpy as np
from material import Made, Maker

from vidcam.__main__ import main
from vidcam.explaining.explain import explain
from vidcam.media import VideoWriter
from vidcam.models.build import load_model

NETWORK = {"--model": "r2plus1d_mini", "--weights": "none", "--option": "frames=8", "--device": "cpu"}
LOOKING = {"--method": "grad_cam", "--layer": "layer4", "--pooling": "slot", "--when": "layer3"}
LOOKING |= {"--placement": "linear,linear", "--hop": "0.2", "--batch": "2", "--backend": "pyav"}
FLAGS: dict[str, dict[str, str]] = {
    "explain": NETWORK | LOOKING | {"--target": "1", "--classes": "2", "--labels": "labels.txt"},
    "rank": NETWORK | LOOKING | {"--by": "heat", "--draws": "1", "--seed": "1", "--top": "2", "--target": "1"},
    "render": {"--colormap": "turbo", "--opacity": "0.5", "--scale": "video", "--layout": "overlay", "--target": "1"}
    | {"--source": "clip.mp4"},
    "odometry": {"--alignment": "7dof", "--plot": "plot.png", "--csv": "errors.csv", "--train-poses": "poses.txt"},
    "check": {"--min-seconds": "0.5"},
    "models": {},
    "train": {"--model": "r2plus1d_mini", "--epochs": "1", "--batch": "2", "--learning-rate": "1e-3", "--seed": "1"}
    | {"--augment": "flip=0", "--train-split": "train", "--validation-split": "none", "--class-balance": "none"}
    | {"--schedule": "cosine", "--freeze": "backbone", "--checkpoint": "clip.mp4", "--precision": "32-true"},
    "test": {"--checkpoint": "labels.txt", "--split": "test", "--clips": "1", "--batch": "2"},
    "train-odometry": {"--intrinsics": "50,50,32,24", "--size": "64", "--length": "3", "--rotation": "quat"}
    | {"--validation": "none", "--epochs": "1", "--smoothness": "0.5", "--learning-rate": "1e-4", "--camera": "x"},
}
ARGUMENTS: dict[str, list[str]] = {
    "explain": ["clip.mp4"],
    "rank": ["clip.mp4"],
    "render": ["sound.npz"],
    "odometry": ["poses.txt", "poses.txt"],
    "check": ["manifest.csv"],
    "models": ["demo"],
    "train": ["none.csv"],
    "test": ["manifest.csv"],
    "train-odometry": ["none"],
}
FILES = ("clip.mp4", "labels.txt", "manifest.csv", "poses.txt", "sound.npz", "none", "", ".", "/dev/null", "folder")
NONSENSE = (*material.NUMBERS, *material.TEXTS, "nan,nan", "linear", "nope,linear", "-1.5", "3", "0.1", "none", "a=b")
NONSENSE += ("frames=0", "size=1", "size=[0,0]", "frame_rate=1e9", "classes=x", "seed=[1]", "layer1", "x\udce9", "$x$")
OUTPUT = {"explain": "out", "rank": "out", "render": "out.mp4", "train": "trained", "test": "tested"}


def commands(folder: Path) -> tuple[Maker, Any]:
    """Typed commands, and options from a file."""
    _sound(folder)

    def make(rng: random.Random, deep: bool) -> Made:
        name = rng.choice(("explain", "explain", "explain", *sorted(FLAGS)))
        flags, arguments = dict(FLAGS[name]), list(ARGUMENTS[name])
        for flag in rng.sample(sorted(flags), min(len(flags), rng.choice((1, 1, 2)))):
            flags[flag] = rng.choice(NONSENSE + FILES) if deep else _damaged(flags[flag], rng)
        if rng.random() < 0.2:
            arguments[rng.randrange(len(arguments))] = rng.choice(NONSENSE + FILES)
        told: dict[str, Any] = {"command": name, "arguments": arguments, "flags": flags}
        if name in ("explain", "train", "train-odometry") and rng.random() < 0.4:  # from a file, with any type
            given = {flag.removeprefix("--").replace("-", "_"): value for flag, value in flags.items()}
            given |= {key: material.changed_value(given[key], rng) for key in rng.sample(sorted(given), 1)}
            told |= {"flags": {}, "config": {"options": given}}
        return ".json", json.dumps(told).encode()

    def read(path: Path) -> str | None:
        told = json.loads(path.read_text())
        typed = [part for pair in told["flags"].items() for part in pair]
        if "config" in told:
            (folder / "run.json").write_text(json.dumps(told["config"]))
            typed = ["--config", "run.json"]
        name = told["command"]
        output = ["--output", OUTPUT[name], "--force"] if name in OUTPUT else []
        return _said(folder, [name, *told["arguments"], *typed, *output])

    return make, read


def _damaged(text: str, rng: random.Random) -> str:
    return material.damaged(text.encode(), rng).decode("utf-8", "surrogateescape").replace("\0", "0")


def _said(folder: Path, typed: list[str]) -> str | None:
    """Run a command in the folder; what goes wrong must be one line."""
    import os

    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(typed)
    wrong = [line for line in err.getvalue().splitlines() if line.startswith("error:")]
    if code == 1 and typed[0] != "check" and len(wrong) != 1:
        return f"{len(wrong)} lines of errors"
    return None if code in (0, 1, 2) else f"exit code {code}"


def _sound(folder: Path) -> None:
    """Write the files that the commands are given."""
    rng = np.random.default_rng(0)
    with VideoWriter(folder / "clip.mp4", width=32, height=24, rate=Fraction(10), force=True) as writer:
        for _ in range(10):
            writer.write(rng.integers(0, 255, (24, 32, 3), np.uint8))
    (folder / "folder").mkdir(exist_ok=True)
    (folder / "labels.txt").write_text("run\nwalk\n$\\frac$\nclap\n")
    (folder / "manifest.csv").write_text("path,label,split\nclip.mp4,run,test\n../commands/clip.mp4,walk,train\n")
    (folder / "poses.txt").write_text("".join(f"1 0 0 {i} 0 1 0 0 0 0 1 {i * i}\n" for i in range(9)))
    options = {"frames": 8, "size": [16, 16]}
    model = load_model("r2plus1d_mini", weights=None, options=options)
    explain(model, folder / "clip.mp4", target=[0, 1]).save(folder / "sound.npz", force=True)
