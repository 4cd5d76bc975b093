"""The demo's model, and the same small network for any classes: the network of `demo.py` with how to feed it."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, unknown
from vidcam.models import demo
from vidcam.models.checkpoint import Checkpoint, load_into
from vidcam.models.kinetics import UntrainedWarning
from vidcam.models.model import Model, Recipe, whole_frame

MINI = "r2plus1d_mini"
SHIPPED = ("DEFAULT", "shipped")
OPTIONS = {
    "classes": len(demo.LABELS),
    "frames": demo.FRAMES,
    "frame_rate": float(demo.RATE),
    "size": demo.SIZE,
    "seed": 0,
}


def build(
    *,
    weights: str | None = "DEFAULT",
    checkpoint: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Build the demo's model, with the weights that are shipped with vidcam."""
    if checkpoint is not None:
        net: demo.DemoNet = demo.DemoNet(checkpoint.rows("fc") or len(demo.LABELS)).eval()
        load_into(net, checkpoint, "demo")
    elif weights in SHIPPED:
        net = demo.demo_net()
    elif weights is None:
        net = _untrained("demo", len(demo.LABELS), seed=0)
    else:
        raise ModelError(unknown("weights of demo", weights, [*SHIPPED, "none"]))
    return _model(
        "demo",
        net,
        {**OPTIONS, **(options or {})},
        labels=demo.LABELS if len(demo.LABELS) == net.fc.out_features else (),
        weights="none" if weights is None else "shipped",
        recorded={},
    )


def build_mini(
    *,
    weights: str | None = "DEFAULT",
    checkpoint: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Build the same network without weights, for any number of classes, to be trained from scratch.

    Args:
        weights: None; there are none to download.
        checkpoint: the user's own weights; the number of classes is read from it.
        options: `classes`, `frames` and `frame_rate` of a window, `size` (H, W) to which frames are resized, `seed` of
            random weights.
    """
    chosen = {**OPTIONS, **(options or {})}
    if checkpoint is None and weights is not None:
        raise ModelError(f"{MINI} has no weights {weights!r} to download; give a checkpoint, or weights 'none'")
    chosen["classes"] = (checkpoint and checkpoint.rows("fc")) or chosen["classes"]
    if checkpoint is None:
        net = _untrained(MINI, chosen["classes"], seed=chosen["seed"])
    else:
        net = demo.DemoNet(chosen["classes"]).eval()
        load_into(net, checkpoint, MINI)
    origin = "none" if checkpoint is None else f"checkpoint {checkpoint.path.name}"
    return _model(MINI, net, chosen, labels=(), weights=origin, recorded=chosen)


def _untrained(name: str, classes: int, *, seed: int) -> demo.DemoNet:
    warnings.warn(f"{name} is untrained (weights none): what it says is random", UntrainedWarning, stacklevel=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # so that a run can be repeated
        return demo.DemoNet(classes).eval()


def _model(
    name: str,
    net: demo.DemoNet,
    chosen: Mapping[str, Any],
    *,
    labels: tuple[str, ...],
    weights: str,
    recorded: dict[str, Any],
) -> Model:
    found = Preprocessing(mean=demo.MEAN, std=demo.STD, antialias=True)
    return Model(
        net=net,
        layer="layer4",
        layout="b c t h w",
        frames=chosen["frames"],
        frame_rate=chosen["frame_rate"],
        preprocessing=whole_frame(found, chosen["size"]),
        labels=labels,
        when="layer3",
        name=name,
        weights=weights,
        options=recorded,
    )


MODELS: dict[str, Recipe] = {
    "demo": Recipe(
        about=f"small R(2+1)D of the demo: {demo.FRAMES} frames at {float(demo.RATE):g} per second, four motions",
        build=build,
    ),
    MINI: Recipe(
        about="small R(2+1)D (Tran et al. 2018), to be trained from scratch: 32 frames at 15 per second",
        build=build_mini,
        options=OPTIONS,
    ),
}
