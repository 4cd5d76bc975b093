"""The CNN-LSTMs as models: how to feed the networks of `recurrent.py`, and where to look."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import ModelError, OptionError, unknown
from vidcam.models.checkpoint import Checkpoint, load_into
from vidcam.models.image_backbone import image_weights
from vidcam.models.kinetics import UntrainedWarning, preset_preprocessing
from vidcam.models.model import Model, Recipe, whole_frame
from vidcam.models.recurrent import CnnRnn, RecurrentOutput

NETWORK = {
    "classes": 51,
    "backbone": "resnet18",
    "backbone_weights": None,
    "cell": "lstm",
    "hidden": 256,
    "layers": 1,
    "dropout": 0.0,
    "bidirectional": False,
    "freeze": False,
}
"""Options of `CnnRnn`."""
OPTIONS = {**NETWORK, "backbone_input": "imagenet", "frames": 16, "frame_rate": 8.0, "size": None, "seed": 0}
INPUTS: dict[str, tuple[float, float] | None] = {"imagenet": None, "minus_128": (128 / 255, 128 / 255)}
"""Mean and deviation of pixels in 0..1 that a backbone expects; None takes those of torchvision's preset."""


def build(
    name: str,
    *,
    weights: str | None = "DEFAULT",
    checkpoint: Checkpoint | None = None,
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Build a CNN-LSTM.

    Args:
        name: "cnn_lstm" or "cnn_lstm_attention".
        weights: None, because nobody publishes weights of the whole network.
        checkpoint: the user's own weights; the number of classes is read from it.
        options: those of `CnnRnn`; `backbone_input`: "imagenet", "minus_128" for (x - 128) / 128 of x in 0..255, or
            {"mean": 3 numbers, "std": 3 numbers} of pixels in 0..1; `frames` and `frame_rate` of a window; `size`
            (H, W), or one number for both, to which the whole frame is resized, instead of the preset's crop; `seed` of
            random weights.

    Raises:
        ModelError: weights that do not exist or do not fit.
        OptionError: a choice that does not exist.
    """
    chosen = {**OPTIONS, **(options or {})}
    if checkpoint is not None:
        chosen["classes"] = checkpoint.rows("head") or chosen["classes"]
    elif weights is not None:
        raise ModelError(f"{name} has no weights {weights!r} to download; give a checkpoint, or weights 'none'")
    net = _network(name, chosen, pretrained=checkpoint is None)
    if checkpoint is not None:
        load_into(net, checkpoint, name)
    else:
        warnings.warn(f"{name} is untrained (weights none): what it says is random", UntrainedWarning, stacklevel=3)
    *_, last = dict(net.backbone.named_children())
    return Model(
        net=net.eval(),
        layer=f"backbone.{last}",
        layout="(b t) c h w",
        frames=chosen["frames"],
        frame_rate=chosen["frame_rate"],
        preprocessing=_preprocessing(chosen),
        axes=dict(_AXES.get(chosen["backbone"], {})),
        attention=_attention if net.attention is not None else None,
        name=name,
        weights="none" if checkpoint is None else f"checkpoint {checkpoint.path.name}",
        options=chosen,
    )


def _network(name: str, chosen: Mapping[str, Any], *, pretrained: bool) -> CnnRnn:
    """Build the network; weights that a checkpoint will replace are not looked for."""
    options = {key: chosen[key] for key in NETWORK} | ({} if pretrained else {"backbone_weights": None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chosen["seed"])  # so that a run can be repeated
        return CnnRnn(attention=name.endswith("attention"), **options)


def _preprocessing(chosen: Mapping[str, Any]) -> Preprocessing:
    """Take torchvision's preset of the weights, or of the backbone's usual ones, and what the options change of it."""
    name, weights, given = chosen["backbone"], chosen["backbone_weights"], chosen["backbone_input"]
    tags = image_weights(name)
    preset = tags[weights] if weights in tags.__members__ else tags.DEFAULT
    found = preset_preprocessing(preset.transforms())
    if isinstance(given, Mapping):
        if given.keys() != {"mean", "std"}:
            raise OptionError(f"backbone_input needs 'mean' and 'std'; given {', '.join(map(repr, given)) or 'none'}")
        found = replace(found, mean=tuple(given["mean"]), std=tuple(given["std"]))
    elif given not in INPUTS:
        raise OptionError(unknown("backbone_input", given, INPUTS))
    elif (numbers := INPUTS[given]) is not None:
        found = replace(found, mean=numbers[:1] * 3, std=numbers[1:] * 3)
    return whole_frame(found, chosen["size"])


def _attention(output: RecurrentOutput) -> Tensor:
    return output.attention


def _recipe(name: str, say: str) -> Recipe:
    about = f"ResNet-18 or another image network per frame, LSTM or GRU{say}: 16 frames at 8 per second"
    return Recipe(about=about, build=partial(build, name), options=OPTIONS)


def _axes(space: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[Axis, ...]]:
    """Stride, center and extent in space, per part; in time a backbone sees one frame."""
    return {f"backbone.{part}": (Axis(1, 0, 1), Axis(*a), Axis(*a)) for part, a in space.items()}


_RESNET18 = {
    "conv1": (2, 0, 7),
    "maxpool": (4, 0, 11),
    "layer1": (4, 0, 43),
    "layer2": (8, 0, 99),
    "layer3": (16, 0, 211),
    "layer4": (32, 0, 435),
}
_AXES: dict[str, dict[str, tuple[Axis, ...]]] = {"resnet18": _axes(_RESNET18)}
"""As `measure_axes` finds it; that of other backbones is measured when it is needed."""

MODELS: dict[str, Recipe] = {
    "cnn_lstm": _recipe("cnn_lstm", ", last state"),
    "cnn_lstm_attention": _recipe("cnn_lstm_attention", " with additive attention (Bahdanau et al. 2015)"),
}
