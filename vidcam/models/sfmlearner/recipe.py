"""SfMLearner by name: its checkpoints, published or one's own, and how to feed it."""

from collections.abc import Mapping
from itertools import accumulate
from math import inf

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError
from vidcam.models.checkpoint import Checkpoint, Kind
from vidcam.models.model import Model
from vidcam.models.ranges import check_ranges
from vidcam.models.recipe import Chosen, Files, Recipe
from vidcam.models.sfmlearner.losses import LossWeights
from vidcam.models.sfmlearner.network import SfMLearner, motion_scores
from vidcam.models.sfmlearner.opening import motion_extras, open_for_motion
from vidcam.models.sfmlearner.pose_and_depth import KERNELS, DispNetS, PoseExpNet

NAME = "sfmlearner"
KINDS = {
    "disp": Kind("a depth network (DispNetS)", ("conv1.0.weight", "predict_disp1.0.weight")),
    "pose": Kind("a pose network (PoseExpNet)", ("conv1.0.weight", "pose_pred.weight")),
    "checkpoint": Kind("a whole sfmlearner", ("pose.conv1.0.weight", "pose.pose_pred.weight")),
}
"""Files of weights, by the argument that takes them."""


def _network(
    *, references: int, explainability: bool, rotation: str, loss_weights: Mapping[str, float] | None, disp: bool
) -> SfMLearner:
    pose = PoseExpNet(references, explainability)
    try:
        weights = LossWeights(**(loss_weights or {}))
    except TypeError:
        raise OptionError(
            f"loss_weights are numbers for photometric, smoothness and explainability; given {loss_weights}"
        ) from None
    return SfMLearner(pose, DispNetS() if disp else None, weights=weights, rotation=rotation)


def _model(net: SfMLearner, chosen: Chosen) -> Model:
    return Model(
        net,
        layer="pose.conv5",
        layout="b c h w",
        frames=net.pose.references + 1,
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, antialias=True),
        axes=_layer_axes(net),
        scores=motion_scores(net.pose.references, rotation=net.rotation),
        units=dict.fromkeys(("rx", "ry", "rz", "turn"), "rad") if net.rotation == "euler" else {},
        opener=open_for_motion,
        extras=motion_extras(net.rotation),
        notes=net.notes,
    )


def _layer_axes(net: SfMLearner) -> dict[str, tuple[Axis, ...]]:
    """Stride, center and extent of the blocks that emit maps, alike in height and width.

    In the encoders kernels are odd and centered. In the decoders a cell stands for the pixels that it predicts, and
    can see more than any usual picture.
    """
    axes: dict[str, tuple[Axis, ...]] = {}
    for part, network in net.named_children():
        extents = _extents(2 if part == "disp" else 1)
        for block, _ in network.named_children():
            if not block[-1].isdecimal():  # pose_pred emits no map, but is averaged
                continue
            k, encodes = int(block[-1]), block.startswith("conv")
            axis = Axis(2.0**k, 0, extents[k - 1]) if encodes else Axis(2.0 ** (k - 1), 0, inf)
            axes[f"{part}.{block}"] = (axis, axis)
    return axes


def _extents(convolutions: int) -> list[float]:
    """Return how many pixels a cell of conv1 to conv7 can see; a block has one convolution, or two."""
    steps = [(kernel - 1) * (2**k + (convolutions - 1) * 2 ** (k + 1)) for k, kernel in enumerate(KERNELS)]
    return [1.0 + seen for seen in accumulate(steps)]


OPEN = {"references": 2, "explainability": False}
"""Of which kind those options are that files tell of where nobody does."""


def _fit(chosen: Chosen, files: Files) -> tuple[Chosen, Files]:
    check_ranges({name: chosen[name] for name in OPEN}, OPEN)
    if not files:
        references = 2 if chosen["references"] is None else chosen["references"]
        return {**chosen, "references": references, "explainability": bool(chosen["explainability"]), "disp": True}, {}
    files = {argument: _named(file) for argument, file in files.items()}
    whole = files.get("checkpoint")
    if whole and len(files) > 1:
        raise ModelError(f"{whole.path} holds the whole {NAME}; give either checkpoint=, or pose= and disp=")
    if not whole and "pose" not in files:
        raise ModelError(f"{NAME} needs a pose network beside disp={files['disp'].path}; give pose=FILE")
    for argument, file in files.items():
        _check_kind(file, argument)
    if whole:
        disp = any(key.startswith("disp.") for key in whole.state)
        return {**chosen, **_told(chosen, whole, "pose."), "disp": disp}, {"": whole}
    return {**chosen, **_told(chosen, files["pose"]), "disp": "disp" in files}, files


def _named(file: Checkpoint) -> Checkpoint:
    """Return the file with the names that its network gives its weights, whatever stands before all of them."""
    return file.fitting(lambda keys: any(set(kind.keys) <= set(keys) for kind in KINDS.values()))


def _check_kind(file: Checkpoint, wanted: str) -> None:
    """Check by its keys that a file is of the network that it is given as."""
    kind = file.kind(KINDS)
    if kind is None:
        raise ModelError(f"checkpoint {file.path} is of no network of {NAME}; it begins with {next(iter(file.state))}")
    if kind != wanted:
        what = KINDS[kind].what
        raise ModelError(f"checkpoint {file.path} is of {what}, not what {wanted}= takes; give it as {kind}=")


def _told(chosen: Chosen, file: Checkpoint, prefix: str = "") -> Chosen:
    """Read the options off the pose network's shapes, after a check that they are what was asked for."""
    shape = tuple(file.state[f"{prefix}conv1.0.weight"].shape)
    if len(shape) != 4 or shape[1] % 3 or shape[1] < 6:
        raise ModelError(f"checkpoint {file.path} is of no pose network: its conv1.0.weight has shape {shape}")
    references, masks = shape[1] // 3 - 1, f"{prefix}predict_mask1.weight" in file.state
    if chosen["references"] not in (None, references):
        asked = chosen["references"]
        raise ModelError(
            f"checkpoint {file.path} has {references} reference frames, {asked} are asked for; leave references out"
        )
    if chosen["explainability"] not in (None, masks):
        has = "an" if masks else "no"
        raise ModelError(f"checkpoint {file.path} has {has} explainability branch; leave explainability out")
    return {"references": references, "explainability": masks}


MODELS: dict[str, Recipe] = {
    NAME: Recipe(
        about="SfMLearner (Zhou et al. 2017): camera motion and depth, 3 or 5 frames of 416x128",
        network=_network,
        model=_model,
        options=dict(
            references=None, explainability=None, size=(128, 416), rotation="euler", loss_weights=None, seed=0
        ),
        files={"pose": "weights of the pose network", "disp": "weights of the depth network, which the loss needs"},
        fit=_fit,
        trained_by="train_odometry",
    ),
}
