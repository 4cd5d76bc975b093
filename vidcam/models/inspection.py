"""What there is to choose: models by name, and the layers of a network that can be explained."""

import warnings
from typing import Any

import torch

from vidcam.attribution.layers import grid_axes, output_shapes, read_grid
from vidcam.attribution.untouched import untouched
from vidcam.errors import LayerError, ModelError
from vidcam.models.build import MODELS, load_model
from vidcam.models.carrying import begun
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.types import Progress


def list_models() -> list[dict[str, Any]]:
    """Return name and description of every model that `load_model` knows."""
    return [{"model": name, "what it is": recipe.about} for name, recipe in MODELS.items()]


def list_layers(model: str | Model, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return the main layers that can be explained: grid, strides, and what one cell can see.

    These are the layers whose geometry is known, or else the network's direct parts, which are measured.

    Args:
        model: a model or its name.
        progress: called after every layer.

    Returns:
        Per layer its name, grid (t, h, w), the frames and pixels from one slot or cell to the next, and those that
        one can depend on, at most the whole input.
    """
    if isinstance(model, str):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UntrainedWarning)
            model = load_model(model, weights=None)  # geometry does not depend on weights
    x = model.example()
    names = list(model.axes) or [name for name, _ in getattr(model.net, "_orig_mod", model.net).named_children()]
    rows = []
    with begun(model):
        with untouched(model.net):
            shapes = output_shapes(model.net, x, names)
        for done, (name, (shape, grid)) in enumerate(shapes.items(), 1):
            if (row := _describe(model, x, name, shape, grid)) is not None:
                rows.append(row)
            if progress is not None:
                progress(done, len(shapes))
    if not rows:
        raise ModelError(f"{model.name} has no layer that reads as a grid; say how they read: Model(..., layout=)")
    return rows


def _describe(model: Model, x: Any, name: str, shape: Any, grid: Any) -> dict[str, Any] | None:
    """Describe a layer that has a grid of two cells or more."""
    if grid is None and callable(model.grid) and len(shape) == 3:
        grid = model.grid(shape[1])
    try:
        layout = model.layout_of(name, shape, x, grid)
        sizes = tuple(read_grid(torch.empty(shape), layout, batch=1, grid=grid).shape[2:])
    except LayerError:
        return None
    if max(sizes) < 2:
        return None
    axes = model.axes_of(name, model.clip_shape(x), layout, grid)
    whole = dict(zip("thw", model.seen_by(name, x).shape[2:], strict=True))
    seen = [min(geometry.extent, whole[axis]) for axis, geometry in zip(grid_axes(layout).split(), axes, strict=True)]
    mark = " (default)" if name == model.layer else " (when)" if name == model.when else ""
    return {
        "layer": name + mark,
        "grid": list(sizes),
        "stride": [f"{axis.stride:g}" for axis in axes],
        "sees": [f"{extent:g}" for extent in seen],
    }
