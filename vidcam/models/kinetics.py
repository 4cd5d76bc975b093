"""Networks that torchvision trained on Kinetics-400: weights by tag, their own preprocessing and labels."""

import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from vidcam.attribution.geometry import Axis
from vidcam.attribution.question import TokenGrid as Grid
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, unknown
from vidcam.models.checkpoint import Checkpoint, load_into
from vidcam.models.model import Model, Recipe, whole_frame


class UntrainedWarning(UserWarning):
    """A network has random weights, so that its explanations mean nothing."""


@dataclass(frozen=True)
class Entry:
    """What torchvision does not say of one of its networks."""

    paper: str
    layer: str
    head: str
    """The linear layer whose rows are the classes."""
    frames: int
    frame_rate: float
    layout: str = "b c t h w"
    when: str | None = None
    grid: Grid | None = None
    axes: Mapping[str, tuple[Axis, ...]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The options and their defaults; tokens are made for one size of clip, convolutions take any."""
        free = {"frames": self.frames, "size": None} if self.layout == "b c t h w" else {}
        return {"classes": None, "frame_rate": self.frame_rate, "seed": 0, **free}


def recipe(name: str, entry: Entry) -> Recipe:
    """Return the recipe of one of torchvision's networks."""
    return Recipe(
        about=f"{entry.paper}: {entry.frames} frames at {entry.frame_rate:g} per second, Kinetics-400",
        build=partial(build, name, entry),
        options=entry.options,
    )


def build(
    name: str,
    entry: Entry,
    *,
    weights: str | None = "DEFAULT",
    checkpoint: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Build one of torchvision's networks.

    Args:
        name: torchvision's name of the network.
        entry: what vidcam knows of it.
        weights: torchvision's tag; downloaded when it is not in torch's cache. None gives random weights, always the
            same ones, and warns.
        checkpoint: the user's own weights instead; the number of classes is read from it.
        options: `classes`, where another number than the weights' gives a new, random head; `frames` and `frame_rate`
            of a window; `size` (H, W), or one number for both, to which the whole frame is resized, instead of the
            preset's crop; `seed` of random weights.

    Raises:
        ModelError: no such tag, no network connection, or a checkpoint that does not fit.
    """
    tags = torchvision.models.get_model_weights(name)
    preset = tags.DEFAULT.transforms()
    labels: tuple[str, ...] = tuple(tags.DEFAULT.meta["categories"])
    chosen = {**entry.options, **(options or {})}
    classes = chosen["classes"] or len(labels)
    if checkpoint is not None:
        classes = checkpoint.rows(entry.head) or classes
        net = torchvision.models.get_model(name, weights=None, num_classes=classes)
        load_into(net, checkpoint, name)
        labels = labels if _is_torchvisions_own(checkpoint.path, tags) else ()
        origin = f"checkpoint {checkpoint.path.name}"
    elif weights is None:
        net, origin = _untrained(name, classes, seed=chosen["seed"]), "none"
    else:
        net, origin = trained(name, weights, tags), weights
        if classes != len(labels):
            _renew_head(net, name, entry.head, classes, seed=chosen["seed"])
    chosen["classes"] = classes
    return Model(
        net=net.eval(),
        layer=entry.layer,
        layout=entry.layout,
        frames=chosen.get("frames", entry.frames),
        frame_rate=chosen["frame_rate"],
        preprocessing=whole_frame(preset_preprocessing(preset), chosen.get("size")),
        labels=labels if len(labels) == classes else (),
        when=entry.when,
        grid=entry.grid,
        axes=dict(entry.axes),
        name=name,
        weights=origin,
        options=chosen,
    )


def _untrained(name: str, classes: int, *, seed: int) -> nn.Module:
    message = f"{name} is untrained (weights none): its weights are random, and so is what it says"
    warnings.warn(message, UntrainedWarning, stacklevel=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # so that a run can be repeated
        net: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return net


def _renew_head(net: nn.Module, name: str, head: str, classes: int, *, seed: int) -> None:
    """Put a random head of another number of classes in place of the trained one."""
    message = f"{name} has a new head for {classes} classes: train it, what it says is random"
    warnings.warn(message, UntrainedWarning, stacklevel=5)
    parent, _, last = head.rpartition(".")
    old: Any = net.get_submodule(head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(old, nn.Conv3d):
            new: nn.Module = nn.Conv3d(old.in_channels, classes, old.kernel_size, old.stride)  # type: ignore[arg-type]
        else:
            new = nn.Linear(old.in_features, classes)
    setattr(net.get_submodule(parent), last, new)


def trained(name: str, tag: str, tags: Any) -> nn.Module:
    """Build with torchvision's weights, from its cache or from the network.

    Raises:
        ModelError: no such tag, or no network connection.
    """
    if tag not in tags.__members__:
        raise ModelError(unknown(f"weights tag of {name}", tag, [*tags.__members__, "none"]))
    try:
        with redirect_stdout(sys.stderr):  # torch says there that it downloads
            net: nn.Module = torchvision.models.get_model(name, weights=tags[tag])
    except (URLError, OSError, RuntimeError) as error:
        why = getattr(error, "reason", error)
        raise ModelError(
            f"cannot download the weights {tag} of {name} ({why}); give a checkpoint file or weights 'none'"
        ) from None
    return net


def preset_preprocessing(preset: Any) -> Preprocessing:
    """Read torchvision's own preset; one number is the length of the shorter side."""
    resize, crop = list(preset.resize_size), list(preset.crop_size)
    return Preprocessing(
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        crop=(crop[0], crop[-1]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        antialias=bool(getattr(preset, "antialias", False)),  # presets for videos have no such choice
    )


def _is_torchvisions_own(path: Path, tags: Any) -> bool:
    """Whether a file has the name, which holds a hash, of one of torchvision's own weights files."""
    return any(path.name == Path(tag.url).name for tag in tags)
