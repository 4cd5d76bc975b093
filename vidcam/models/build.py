"""One table of names, and a model by its name, with the names of its classes."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vidcam.errors import ModelError, unknown
from vidcam.models import cnn_rnn, mini, torchvision_video
from vidcam.models.checkpoint import Checkpoint, read_checkpoint
from vidcam.models.model import Model
from vidcam.models.recipe import Recipe
from vidcam.models.sfmlearner import recipe as sfmlearner

MODELS: dict[str, Recipe] = {**torchvision_video.MODELS, **cnn_rnn.MODELS, **sfmlearner.MODELS, **mini.MODELS}
"""All models that have a name; one of your own is another entry."""


def load_model(
    name: str | None,
    *,
    weights: str | None = "DEFAULT",
    checkpoint: str | Path | None = None,
    labels: str | Path | Sequence[str] | None = None,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    **files: str | Path | None,
) -> Model:
    """Load a model by its name.

    Args:
        name: one of `MODELS`; None takes the one that a checkpoint of `write_checkpoint` names.
        weights: a tag of the weights that are downloaded for it, as "KINETICS400_V1"; None gives random weights and
            warns that the network is untrained.
        checkpoint: the user's own weights instead: a state dict or a safetensors file, which also tells the number
            of classes. One of `write_checkpoint` also brings options, labels, preprocessing, frames and rate.
        labels: names of the classes, or a text or JSON file of them; instead of those that belong to the weights.
        device: where the network runs; "auto" takes a GPU if there is one.
        options: what the network is built with, as `classes`, `frames`, `frame_rate`, `size`; `MODELS[name].options`
            has them all, with their defaults.
        files: weights of parts of the network, which `MODELS[name].files` names: of "sfmlearner" `pose` and `disp`.

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
    name = _name(name, own)
    parts = {part: read_checkpoint(path) for part, path in _checked_files(name, files).items()}
    given = {"checkpoint": own, **parts} if own else parts
    described = next(iter(given.values())).description if given else {}
    chosen = {**described.get("options", {}), **(options or {})}
    model = MODELS[name].build(name, weights=weights, files=given, options=chosen)
    if own is not None:
        own.restore(model, but=options or {})
    if labels is not None:
        model.labels = read_labels(labels) if isinstance(labels, str | Path) else tuple(labels)
        if not model.labels:
            raise ModelError("labels must name the classes; given none")
        if twice := [label for label, times in Counter(model.labels).items() if times > 1]:
            raise ModelError(f"labels must differ; {twice[0]!r} is given more than once")
    return model.to(place)


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names from a text file with one per line, or from a JSON list, {index: name} or {name: index}."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        if path.suffix.lower() == ".json":
            return _from_json(text)
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    except (ValueError, RecursionError) as error:  # no UTF-8 or no JSON either, or nested without end
        why = "it is nested without end" if isinstance(error, RecursionError) else error
        raise ModelError(f"labels file {path} cannot be read: {why}") from None


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


def _name(name: str | None, checkpoint: Checkpoint | None) -> str:
    """Return the model's name, after a check that the checkpoint tells the same one."""
    if checkpoint is None or not (told := checkpoint.description):
        if name is None:
            raise ModelError("no model is named" + (f", and {checkpoint.path} does not name one" if checkpoint else ""))
        return name
    if name not in (None, told["model"]):
        raise ModelError(f"checkpoint {checkpoint.path} is of {told['model']}, not of {name}")
    if told["model"] not in MODELS:
        raise ModelError(f"checkpoint {checkpoint.path}: {unknown('model', told['model'], MODELS)}")
    return str(told["model"])


def _checked_files(name: str, files: Mapping[str, str | Path | None]) -> dict[str, str | Path]:
    """Return the files of parts that were given, after a check that the model has such parts."""
    for file in files:
        owner = next((other for other, recipe in MODELS.items() if file in recipe.files), None)
        if owner is None:
            raise TypeError(f"load_model() got an unexpected keyword argument {file!r}")
        if files[file] is not None and file not in MODELS[name].files:
            listed = " or ".join(f"{part}=" for part in MODELS[owner].files)
            raise ModelError(f"{name} takes no {listed}, which are files of {owner}; give checkpoint=")
    return {part: path for part in MODELS[name].files if (path := files.get(part)) is not None}


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
