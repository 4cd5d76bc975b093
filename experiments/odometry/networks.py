"""The networks of the experiment: how they are trained, and which of them is the best by its validation."""

import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vidcam.models.build import load_model
from vidcam.models.checkpoint import read_checkpoint
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.models.sfmlearner.network import Motion, SfMLearner
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet
from vidcam.odometry.training.train import train_odometry

SIZE = (64, 208)
# per stage: learning rate and epochs; what some twenty and four minutes of a shared core allow
STAGES = {"synthetic": ((2e-4, 9), (4e-5, 4), (4e-5, 7)), "real": ((2e-4, 20),)}
SETTINGS = {"length": 3, "size": SIZE, "batch": 4, "smoothness": 0.1, "seed": 0}
LARGER = 100  # times the usual first weights of the layer that tells the pose
FARTHER = -2.5  # first bias of the disparity's sigmoid: depth begins near 1, not 0.2
PARTS = ("pose", "disp")


def train(network: str, parts: dict[str, list[Path]], work: Path) -> dict[str, Any]:
    """Train stage by stage, each from the last one's best networks, or go on where a run ended."""
    start, networks, reports = time.perf_counter(), beginning(work), []
    for output, (rate, epochs) in zip(stages(network, work), STAGES[network], strict=True):
        report = train_odometry(
            [*parts["train"], *parts["validation"]],
            output=output,
            validation=[path.name for path in parts["validation"]],
            **networks,
            learning_rate=rate,
            epochs=epochs,
            progress=False,
            logger="none",
            resume=True,
            **SETTINGS,
        )
        networks = {name: output / f"{name}.safetensors" for name in PARTS}
        reports.append(report.as_dict())
    return {"seconds": round(time.perf_counter() - start), "stages": reports}


def stages(network: str, work: Path) -> list[Path]:
    """Name the folders of a network's stages."""
    return [work / network / f"stage_{number}" for number in range(len(STAGES[network]))]


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


class Mirrored(nn.Module):
    """Average the motion that a network tells with what it tells of the mirrored pictures, mirrored back."""

    def __init__(self, net: SfMLearner) -> None:
        super().__init__()
        self.net, self.rotation = net, net.rotation

    def forward(self, clip: Tensor) -> Motion:
        motion = self.net(clip)
        back = self.net(clip.flip(-1)).pose * motion.pose.new_tensor([-1, 1, 1, 1, -1, -1])
        return motion._replace(pose=(motion.pose + back) / 2)


def mirrored(model: Model) -> Model:
    """Return the same model, averaged over both sides."""
    return replace(model, net=Mirrored(model.net), layer=f"net.{model.layer}")


def load(network: str | None, work: Path, *, depth: bool = True, seed: int = 0) -> Model:
    """Load the last stage's best epoch by the photometric loss on the validation drives; None is untrained."""
    if network is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            return load_model("sfmlearner", weights="none", options={"size": SIZE, "seed": seed}, device="cpu")
    files = {name: stages(network, work)[-1] / f"{name}.safetensors" for name in (PARTS if depth else PARTS[:1])}
    options = read_checkpoint(files["pose"]).description["options"]
    return load_model("sfmlearner", options=options, device="cpu", **files)
