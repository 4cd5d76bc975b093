"""The networks of a training of odometry: where they start, and how they are written."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from vidcam.attribution.chance import seeded
from vidcam.errors import ModelError
from vidcam.models.checkpoint import Checkpoint, load_into, read_checkpoint, write_weights
from vidcam.models.sfmlearner.network import SfMLearner
from vidcam.models.sfmlearner.pose_and_depth import DispNetS, PoseExpNet
from vidcam.models.sfmlearner.recipe import KINDS
from vidcam.odometry.training.settings import OdometrySettings

POSE, DISP = "pose.safetensors", "disp.safetensors"
BRANCH = ("upconv", "predict_mask")
"""Parts of a pose network that make up its branch of masks."""


def starting_networks(settings: OdometrySettings) -> SfMLearner:
    """Build both networks, from checkpoints where there are any, and else from weights that the seed tells.

    A branch of masks that is wanted and not in the checkpoint starts anew; one that is not wanted is left out. A
    ModelError says what does not fit, as the number of frames.
    """
    with seeded(settings.seed):
        pose = PoseExpNet(settings.length - 1, explainability=settings.explainability > 0)
    with seeded(settings.seed):
        disp = DispNetS()
    if settings.pose is not None:
        load_into(pose, _fitted(_read(settings.pose, "pose"), pose), f"a pose network of {settings.length} frames")
    if settings.disp is not None:
        load_into(disp, _read(settings.disp, "disp"), "the depth network")
    return SfMLearner(pose, disp, rotation=settings.rotation)


def write_networks(net: SfMLearner, folder: Path, settings: OdometrySettings, *, best: Mapping[str, Any]) -> None:
    """Write both networks, each with what `load_model` must know beside the weights, in the place of older ones."""
    options = {
        "references": net.pose.references,
        "size": list(settings.size),
        "rotation": settings.rotation,
        "explainability": net.pose.explainability,
        "loss_weights": {name: getattr(settings, name) for name in ("photometric", "smoothness", "explainability")},
    }
    facts = {"model": "sfmlearner", "options": options, "training": {**settings.as_json(), "best": dict(best)}}
    assert net.disp is not None
    for name, part in ((POSE, net.pose), (DISP, net.disp)):
        write_weights(part, folder / name, {**facts, "vidcam": version("vidcam")}, force=True)


def _read(path: str | Path, part: str) -> Checkpoint:
    """Read a checkpoint that is given as `part`, after a check that it is not of another network."""
    checkpoint = read_checkpoint(path)
    kind = checkpoint.kind(KINDS) or part
    if kind != part:
        raise ModelError(f"checkpoint {checkpoint.path} is of {KINDS[kind].what}; {part} takes {KINDS[part].what}")
    return checkpoint


def _fitted(checkpoint: Checkpoint, pose: PoseExpNet) -> Checkpoint:
    """Return a checkpoint with as much of a branch of masks as the network has."""
    first = checkpoint.state.get("conv1.0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] != 3 * (pose.references + 1):
        frames, wanted = first.shape[1] // 3, pose.references + 1
        raise ModelError(f"checkpoint {checkpoint.path} takes {frames} frames; given length {wanted}")
    trunk = {key: value for key, value in checkpoint.state.items() if not key.startswith(BRANCH)}
    own = {key: value for key, value in pose.state_dict().items() if key.startswith(BRANCH)}
    state: dict[str, Tensor] = {key: checkpoint.state.get(key, value) for key, value in own.items()}
    return Checkpoint(checkpoint.path, trunk | state)
