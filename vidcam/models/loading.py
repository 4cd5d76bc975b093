"""One table of names, and a model by its name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vidcam.errors import ModelError, unknown
from vidcam.models import demo_model, recurrent_model, video_cnn, video_transformer
from vidcam.models.checkpoint import Checkpoint, read_checkpoint
from vidcam.models.model import Model, Recipe
from vidcam.models.sfmlearner import recipe as sfmlearner

MODELS: dict[str, Recipe] = {
    **video_cnn.MODELS,
    **video_transformer.MODELS,
    **recurrent_model.MODELS,
    **sfmlearner.MODELS,
    **demo_model.MODELS,
}


def load_model(
    name: str | None,
    *,
    weights: str | None = "DEFAULT",
    checkpoint: str | Path | None = None,
    pose: str | Path | None = None,
    disp: str | Path | None = None,
    labels: str | Path | list[str] | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a model by its name.

    Args:
        name: one of `MODELS`; None takes the one that a checkpoint of `write_checkpoint` names.
        weights: a tag of the weights that are downloaded for it, as "KINETICS400_V1"; None gives random weights and
            warns that the network is untrained.
        checkpoint: the user's own weights instead: a state dict or a safetensors file, which also tells the number
            of classes. One of `write_checkpoint` also brings options, labels, preprocessing, frames and rate.
        pose: of "sfmlearner" a file of the pose network alone, as the published ones are.
        disp: of "sfmlearner" a file of the depth network alone, beside `pose`; the loss needs it.
        labels: names of the classes, or a text or JSON file of them; instead of those that belong to the weights.
        device: where the network runs; "auto" takes a GPU if there is one.
        options: what the network is built with, as `classes`, `frames`, `frame_rate`, `size`; `MODELS[name].options`
            has them all, with their defaults.

    Raises:
        ModelError: no such model or weights, no network connection, or a checkpoint or labels that do not fit.
        OptionError: no such option.
    """
    if name is not None and name not in MODELS:
        raise ModelError(unknown("model", name, MODELS))
    place = _device(device)
    if isinstance(weights, str) and weights.casefold() == "none":
        weights = None
    own = None if checkpoint is None else read_checkpoint(checkpoint)
    name, stored = _told(name, own)
    if pose is not None and name in sfmlearner.MODELS:  # a file of one's own tells size, rotation and more
        stored = dict(read_checkpoint(pose).description.get("options", {}))
    given = options or {}
    recipe, parts = MODELS[name], {"pose": pose, "disp": disp} if name in sfmlearner.MODELS else {}
    if not parts and (pose is not None or disp is not None):
        raise ModelError(f"{name} takes no pose= or disp=, which are files of sfmlearner; give checkpoint=")
    model = recipe.build(weights=weights, checkpoint=own, options=recipe.choose(name, {**stored, **given}), **parts)
    if own is not None:
        own.restore(model, but=given)
    if labels is not None:
        model.labels = _checked(read_labels(labels) if isinstance(labels, str | Path) else tuple(labels))
    return model.to(place)


def _device(name: str) -> torch.device:
    """Find the device before anything is loaded for it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(unknown("device", name, ("auto", "cpu", "cuda"))) from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r} is not available here; possible: auto, cpu")
    return device


def _told(name: str | None, checkpoint: Checkpoint | None) -> tuple[str, dict[str, Any]]:
    """Return the model's name and the options that the checkpoint tells, after a check that the names agree."""
    told = {} if checkpoint is None else checkpoint.description
    if name is None and not told:
        raise ModelError("no model is named" + (f", and {checkpoint.path} does not name one" if checkpoint else ""))
    if checkpoint is None or not told:
        return str(name), {}
    if name not in (None, told["model"]):
        raise ModelError(f"checkpoint {checkpoint.path} is of {told['model']}, not of {name}")
    if told["model"] not in MODELS:
        raise ModelError(f"checkpoint {checkpoint.path}: {unknown('model', told['model'], MODELS)}")
    return told["model"], told["options"]


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names from a text file with one per line, or from a JSON list, {index: name} or {name: index}."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        return (
            _from_json(text)
            if path.suffix.lower() == ".json"
            else tuple(x.strip() for x in text.splitlines() if x.strip())
        )
    except ValueError as error:  # no UTF-8 or no JSON either
        raise ModelError(f"labels file {path} cannot be read: {error}") from None


def _from_json(text: str) -> tuple[str, ...]:
    loaded = json.loads(text)
    if isinstance(loaded, dict):
        named = {name: index for name, index in loaded.items() if isinstance(index, int)}
        by_index = {index: name for name, index in named.items()} if named else {int(k): v for k, v in loaded.items()}
        if sorted(by_index) != list(range(len(loaded))):
            raise ValueError(f"its {len(loaded)} classes need the indices 0 to {len(loaded) - 1}")
        loaded = [by_index[index] for index in range(len(loaded))]
    if not isinstance(loaded, list) or not all(isinstance(label, str | int) for label in loaded):
        raise ValueError("it needs a list of names, {index: name} or {name: index}")
    return tuple(str(label) for label in loaded)


def _checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) != len(labels) or not labels:
        distinct = len(set(labels))
        raise ModelError(f"class names must differ and there must be some; given {len(labels)}, {distinct} distinct")
    return labels
