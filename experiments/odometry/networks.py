"""The networks of the experiment: how they are trained, and which of them is the best by its validation."""

import time
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.kinetics import UntrainedWarning
from vidcam.models.loading import load_model
from vidcam.models.model import Model
from vidcam.models.sfmlearner.disparity_net import DispNetS
from vidcam.models.sfmlearner.pose_net import PoseExpNet
from vidcam.training.odometry_fitting import train_odometry

SIZE = (64, 208)
EPOCHS = {"synthetic": 9, "real": 20}  # what ten and four minutes of a shared core allow
SETTINGS = {"length": 3, "size": SIZE, "batch": 4, "smoothness": 0.1, "learning_rate": 2e-4, "seed": 0}
LARGER = 100  # times the usual first weights of the layer that tells the pose
FARTHER = -2.5  # first bias of the disparity's sigmoid: depth begins near 1, not 0.2
PARTS = ("pose", "disp")


def train(network: str, parts: dict[str, list[Path]], work: Path) -> dict[str, Any]:
    """Train, or go on where a run ended."""
    start = time.perf_counter()
    report = train_odometry(
        [*parts["train"], *parts["validation"]],
        output=work / network,
        validation=[path.name for path in parts["validation"]],
        **beginning(work),
        epochs=EPOCHS[network],
        progress=False,
        logger="none",
        resume=True,
        **SETTINGS,
    )
    return {"seconds": round(time.perf_counter() - start), **report.as_dict()}


def beginning(work: Path) -> dict[str, Path]:
    """Write both networks to begin with: a last layer of the pose network that is larger, and a farther depth.

    Poses are 0.01 times that layer's mean. From the usual weights they grow so slowly that the depth network goes to
    its nearest depth first, to make the pictures move, where a shift to the side moves them more than a turn does: the
    pose network then takes every turn for a shift.
    """
    torch.manual_seed(SETTINGS["seed"])
    pose, disp = PoseExpNet(SETTINGS["length"] - 1, explainability=False), DispNetS()
    with torch.no_grad():
        pose.pose_pred.weight *= LARGER
        for k in range(1, 5):
            disp.get_submodule(f"predict_disp{k}.0").bias.fill_(FARTHER)
    paths = {name: work / f"beginning_{name}.safetensors" for name in PARTS}
    for net, path in zip((pose, disp), paths.values(), strict=True):
        save_file(net.state_dict(), path)
    return paths


def load(network: str | None, work: Path, *, depth: bool = True, seed: int = 0) -> Model:
    """Load the best epoch by the photometric loss on the validation drives; None is untrained."""
    if network is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            return load_model("sfmlearner", weights="none", options={"size": SIZE, "seed": seed}, device="cpu")
    files = {name: work / network / f"{name}.safetensors" for name in (PARTS if depth else PARTS[:1])}
    options = read_checkpoint(files["pose"]).description["options"]
    return load_model("sfmlearner", options=options, device="cpu", **files)
