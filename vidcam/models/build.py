"""One table of names, and a model by its name, with the names of its classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vidcam.errors import ModelError, unknown
from vidcam.models import cnn_rnn, mini, torchvision_video
from vidcam.models.checkpoint import Checkpoint, read_checkpoint
from vidcam.models.foreign import FORMS, find_foreign, registered, runs_code
from vidcam.models.labels import read_labels
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
        name: one of `MODELS`; "hf:REPOSITORY_OR_FOLDER", "timm:NAME", "hub:FOLDER:NAME", "file.py:function" or
            "package.module:function" for a foreign network, see `wrap`; a name that an installed package has registered
            as an entry point of "vidcam.models"; None takes the one that a checkpoint of `write_checkpoint` names.
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
    if name is not None and ":" not in name:
        find_recipe(name)  # before a checkpoint is read
    place = _device(device)
    if isinstance(weights, str) and weights.casefold() == "none":
        weights = None
    own = None if checkpoint is None else read_checkpoint(checkpoint)
    name, recipe = _named(name, own)
    parts = {part: read_checkpoint(path) for part, path in _checked_files(name, recipe, files).items()}
    given = {"checkpoint": own, **parts} if own else parts
    described = next(iter(given.values())).description if given else {}
    chosen = {**described.get("options", {}), **(options or {})}
    model = recipe.build(name, weights=weights, files=given, options=chosen)
    if own is not None:
        own.restore(model, but=options or {})
    if labels is not None:
        model.labels = read_labels(labels) if isinstance(labels, str | Path) else tuple(labels)
        if not model.labels:
            raise ModelError("labels must name the classes; given none")
        if twice := [label for label, times in Counter(model.labels).items() if times > 1]:
            raise ModelError(f"labels must differ; {twice[0]!r} is given more than once")
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


def find_recipe(name: str) -> Recipe:
    """Return how a model is built, by its name, or by where a foreign one is found.

    Raises:
        ModelError: there is none.
    """
    recipe = MODELS.get(name) or find_foreign(name)
    if recipe is None:
        more = f"; or {', '.join(FORMS)}"
        raise ModelError(unknown("model", name, [*MODELS, *registered()]) + more)
    return recipe


def _named(name: str | None, checkpoint: Checkpoint | None) -> tuple[str, Recipe]:
    """Return the model's name and recipe, after a check that the checkpoint tells the same one."""
    if checkpoint is None or not (told := checkpoint.description):
        if name is None:
            raise ModelError("no model is named" + (f", and {checkpoint.path} does not name one" if checkpoint else ""))
        return name, find_recipe(name)
    own = str(told["model"])
    if name not in (None, own):
        raise ModelError(f"checkpoint {checkpoint.path} is of {own}, not of {name}")
    if name is None and runs_code(own):
        say = f"which is code, and run only where it is named: {own!r} as the model"
        raise ModelError(f"checkpoint {checkpoint.path} is of {own}, {say}")
    try:
        return own, find_recipe(own)
    except ModelError as error:
        raise ModelError(f"checkpoint {checkpoint.path}: {error}") from None


def _checked_files(name: str, recipe: Recipe, files: Mapping[str, str | Path | None]) -> dict[str, str | Path]:
    """Return the files of parts that were given, after a check that the model has such parts."""
    for file in files:
        owner = next((other for other, recipe in MODELS.items() if file in recipe.files), None)
        if owner is None:
            raise TypeError(f"load_model() got an unexpected keyword argument {file!r}")
        if files[file] is not None and file not in recipe.files:
            listed = " or ".join(f"{part}=" for part in MODELS[owner].files)
            raise ModelError(f"{name} takes no {listed}, which are files of {owner}; give checkpoint=")
    return {part: path for part in recipe.files if (path := files.get(part)) is not None}
