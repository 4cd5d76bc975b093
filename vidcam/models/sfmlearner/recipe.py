"""SfMLearner by name: its checkpoints, published or one's own, and how to feed it."""

import warnings
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import torch

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.models.checkpoint import Checkpoint, load_into, read_checkpoint
from vidcam.models.kinetics import UntrainedWarning
from vidcam.models.model import Model, Recipe, whole_frame
from vidcam.models.sfmlearner.disparity_net import DispNetS
from vidcam.models.sfmlearner.losses import LossWeights
from vidcam.models.sfmlearner.network import SfMLearner
from vidcam.models.sfmlearner.pose_net import PoseExpNet
from vidcam.models.sfmlearner.scores import UNITS, motion_scores

NAME = "sfmlearner"
SIZE = (128, 416)
OPTIONS: dict[str, Any] = {
    "references": None,
    "explainability": None,
    "size": SIZE,
    "rotation": "euler",
    "loss_weights": None,
    "seed": 0,
}
KINDS = {
    "conv1.0.weight predict_disp1.0.weight": ("a depth network (DispNetS)", "disp="),
    "conv1.0.weight pose_pred.weight": ("a pose network (PoseExpNet)", "pose="),
    "pose.conv1.0.weight pose.pose_pred.weight": ("a whole sfmlearner", "checkpoint="),
}
"""Keys that tell which network a file is of, what it is called, and how it is given."""


def build(
    *,
    weights: str | None = "DEFAULT",
    checkpoint: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
    pose: str | Path | None = None,
    disp: str | Path | None = None,
) -> Model:
    """Build SfMLearner.

    Args:
        weights: None for random weights of both networks; there are none to download.
        checkpoint: both networks in one file.
        options: `references` beside the target and `explainability`, the branch of masks, by default those of the
            checkpoint, or else 2 and none; `size` (H, W) to which the whole frame is resized; `rotation` "euler" or
            "quat"; `loss_weights`, a mapping of `photometric`, `smoothness`, `explainability`; `seed` of random
            weights.
        pose: a file of the pose network's weights.
        disp: a file of the depth network's weights, which the loss needs.

    Raises:
        ModelError: files that do not fit, or none at all.
        OptionError: a choice that does not exist.
    """
    chosen = {**OPTIONS, **(options or {})}
    files = _files(checkpoint, pose, disp)
    if not files and weights is not None:
        raise ModelError(f"{NAME} has no weights {weights!r} to download; give pose=FILE, or weights 'none'")
    _adopt(chosen, files.get("pose"))
    net = _network(chosen, disp=not files or "disp" in files, trained=bool(files))
    for part, file in files.items():
        load_into(net.get_submodule(part), file, f"{NAME}'s {part} network")
    return Model(
        net=net.eval(),
        layer="pose.conv5",
        layout="b c h w",
        frames=chosen["references"] + 1,
        preprocessing=whole_frame(Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, antialias=True), chosen["size"]),
        axes=_axes(net),
        name=NAME,
        weights=" and ".join(dict.fromkeys(f"checkpoint {file.path.name}" for file in files.values())) or "none",
        options=chosen,
        scores=motion_scores(chosen["references"], rotation=chosen["rotation"]),
        units=UNITS if chosen["rotation"] == "euler" else {},
    )


def _files(checkpoint: Checkpoint | None, pose: str | Path | None, disp: str | Path | None) -> dict[str, Checkpoint]:
    """Return the weights of each network that has some."""
    if checkpoint is not None:
        if pose is not None or disp is not None:
            raise ModelError(f"{checkpoint.path} holds the whole {NAME}; give either checkpoint=, or pose= and disp=")
        return _parts(_of_kind(checkpoint, "checkpoint="))
    if pose is None:
        if disp is not None:
            raise ModelError(f"{NAME} needs a pose network beside disp={disp}; give pose=FILE")
        return {}
    given = {"pose": pose} if disp is None else {"pose": pose, "disp": disp}
    return {part: _of_kind(read_checkpoint(path), f"{part}=") for part, path in given.items()}


def _of_kind(file: Checkpoint, wanted: str) -> Checkpoint:
    """Return the file if its keys are those of the network that it is given as."""
    found = next(((what, how) for keys, (what, how) in KINDS.items() if set(keys.split()) <= file.state.keys()), None)
    if found is None:
        raise ModelError(f"checkpoint {file.path} is of no network of {NAME}; it begins with {next(iter(file.state))}")
    if found[1] != wanted:
        raise ModelError(f"checkpoint {file.path} is of {found[0]}, not what {wanted} takes; give it as {found[1]}")
    return file


def _parts(whole: Checkpoint) -> dict[str, Checkpoint]:
    """Divide the weights of both networks by the first part of their names."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in whole.state.items():
        part, _, rest = key.partition(".")
        states.setdefault(part, {})[rest] = value
    if strange := states.keys() - {"pose", "disp"}:
        raise ModelError(f"checkpoint {whole.path} holds {', '.join(sorted(strange))} beside the networks of {NAME}")
    return {part: Checkpoint(whole.path, state) for part, state in states.items()}


def _adopt(chosen: dict[str, Any], file: Checkpoint | None) -> None:
    """Fill in what the pose network's shapes tell, after a check that it is what was asked for."""
    if file is None:
        chosen["references"] = 2 if chosen["references"] is None else int(chosen["references"])
        chosen["explainability"] = bool(chosen["explainability"])
        return
    shape = tuple(file.state["conv1.0.weight"].shape)
    if len(shape) != 4 or shape[1] % 3 or shape[1] < 6:
        raise ModelError(f"checkpoint {file.path} is of no pose network: its conv1.0.weight has shape {shape}")
    references, masks = shape[1] // 3 - 1, "predict_mask1.weight" in file.state
    if chosen["references"] not in (None, references):
        asked = chosen["references"]
        raise ModelError(
            f"checkpoint {file.path} has {references} reference frames, {asked} are asked for; leave references out"
        )
    if chosen["explainability"] not in (None, masks):
        has = "an" if masks else "no"
        raise ModelError(f"checkpoint {file.path} has {has} explainability branch; leave explainability out")
    chosen.update(references=references, explainability=masks)


def _network(chosen: Mapping[str, Any], *, disp: bool, trained: bool) -> SfMLearner:
    if not trained:
        warnings.warn(f"{NAME} is untrained (weights none): what it says is random", UntrainedWarning, stacklevel=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen["seed"])  # so that a run can be repeated
        return SfMLearner(
            PoseExpNet(chosen["references"], chosen["explainability"]),
            DispNetS() if disp else None,
            weights=_loss_weights(chosen["loss_weights"]),
            rotation=chosen["rotation"],
        )


def _loss_weights(given: Mapping[str, float] | None) -> LossWeights:
    try:
        return LossWeights(**(given or {}))
    except TypeError:
        raise OptionError(
            f"loss_weights are numbers for photometric, smoothness and explainability; given {given}"
        ) from None


def _axes(net: SfMLearner) -> dict[str, tuple[Axis, ...]]:
    """Stride, center and extent of the blocks that emit maps, alike in height and width.

    In the encoders kernels are odd and centered. In the decoders a cell stands for the pixels that it predicts, and
    can see more than any usual picture.
    """
    axes: dict[str, tuple[Axis, ...]] = {}
    for part, convolutions in (("pose", 1), ("disp", 2)):
        blocks = [] if getattr(net, part) is None else dict(net.get_submodule(part).named_children())
        extents = _extents(convolutions)
        for block in blocks:
            if not block[-1].isdecimal():  # pose_pred emits no map, but is averaged
                continue
            k, encodes = int(block[-1]), block.startswith("conv")
            axis = Axis(2.0**k, 0, extents[k - 1]) if encodes else Axis(2.0 ** (k - 1), 0, inf)
            axes[f"{part}.{block}"] = (axis, axis)
    return axes


def _extents(convolutions: int) -> list[float]:
    """Return how many pixels a cell of conv1 to conv7 can see; a block has one convolution, or two."""
    extents, seen = [], 1.0
    for k, kernel in enumerate((7, 5, 3, 3, 3, 3, 3)):
        seen += (kernel - 1) * (2**k + (convolutions - 1) * 2 ** (k + 1))
        extents.append(seen)
    return extents


MODELS: dict[str, Recipe] = {
    NAME: Recipe(
        about="SfMLearner (Zhou et al. 2017): camera motion and depth, 3 or 5 frames of 416x128",
        build=build,
        options=OPTIONS,
    ),
}
