"""What there is to choose: models by name, the layers of a network that can be explained, and a model's options."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.containers import first_tensor
from vidcam.attribution.layers import FOLDED, INPUT, WRAPPERS, grid_axes, output_shapes, read_grid, split_name
from vidcam.attribution.tokens import TOKENS
from vidcam.attribution.trunk import Passed, Walk, walk
from vidcam.attribution.untouched import untouched
from vidcam.errors import LayerError, ModelError, OptionError
from vidcam.models.build import MODELS, find_recipe, load_model
from vidcam.models.carrying import begun
from vidcam.models.libraries import SLOTS
from vidcam.models.model import Model
from vidcam.models.recipe import UntrainedWarning
from vidcam.types import Progress

TRIED = 8
"""Of several layers with one grid, so many are asked for their gradient: the last ones."""


def list_models() -> list[dict[str, Any]]:
    """Return name and description of every model that `load_model` knows."""
    return [{"model": name, "what it is": recipe.about} for name, recipe in MODELS.items()]


def list_options(model: str) -> list[dict[str, Any]]:
    """Return the options of a model by its name, with their defaults; None is found out or left as it is."""
    recipe = find_recipe(model)
    slots = dict.fromkeys((*SLOTS, "size")) if model not in MODELS else {}
    return [{"option": name, "default": default} for name, default in {**slots, **recipe.options}.items()]


def list_layers(model: str | Model, *, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return the layers that can be explained: one for each grid of cells that the network has, in its order.

    Of several layers with one grid it is the model's own, or else the last that all of the answer passes through and
    that has a gradient. All modules are looked at, by one forward; the chosen ones are measured.

    Args:
        model: a model or its name.
        progress: called after every layer.

    Returns:
        Per layer its name, grid (t, h, w), the frames and pixels from one slot or cell to the next, and those that
        one can depend on, at most the whole input; whether several of its cells have a gradient, without which there is
        nothing to explain, and whether all of the answer passes through it.
    """
    model = load_untrained(model) if isinstance(model, str) else model
    x, rows = model.example(), []
    with begun(model):
        found = _one_for_each_grid(model, [known for layer in _find(model, x) if (known := _measured(model, x, layer))])
        for done, layer in enumerate(found, 1):
            rows.append(_described(model, x, layer))
            if progress is not None:
                progress(done, len(found))
    if not rows:
        raise ModelError(f"{model.name} has no layer that reads as a grid; say how they read: Model(..., layout=)")
    return rows


def load_untrained(name: str, options: Mapping[str, Any] | None = None) -> Model:
    """Make a model with random weights: geometry does not depend on them; `options` are as in `load_model`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntrainedWarning)
        return load_model(name, weights=None, options=options)


@dataclass(frozen=True)
class _Layer:
    """A layer, and how its output reads."""

    name: str
    shape: Sequence[int]
    layout: str
    grid: Sequence[int] | None
    """(t, h, w) of tokens."""
    sizes: tuple[int, ...]
    """Of the axes that the layout has; none where it holds tokens that were not measured."""
    gradient: bool = False
    whole: bool = False

    @property
    def key(self) -> tuple[int, ...]:
        """(t, h, w), or what tells apart the tokens that were not measured."""
        return (1, 1, *self.sizes)[-3:] if self.sizes else (0, self.shape[1])


def _find(model: Model, x: Any) -> list[_Layer]:
    """Choose one layer for each grid, and the model's own."""
    with untouched(model.net):
        own = output_shapes(model.net, x, [name for name in (model.when, model.layer) if name not in (None, INPUT)])
    with walk(model.net, x, partial(_answer, model)) as seen:
        groups: dict[tuple[int, ...], list[tuple[Passed, _Layer]]] = {}
        places = {passed.name: place for place, passed in enumerate(seen.passed)}
        for passed in seen.passed:
            if (layer := _read(model, x, passed)) is not None:
                groups.setdefault(layer.key, []).append((passed, layer))
        kept: dict[str, tuple[int, _Layer]] = {}
        for name, (shape, grid) in own.items():
            if (told := _read(model, x, Passed(name, [tuple(shape)], None if grid is None else tuple(grid)))) is None:
                continue
            place = len(places) if (through := _passed(seen, name, shape)) is None else places[through.name]
            kept[name] = (place, _judged(seen, through, told))
            groups.pop(told.key, None)
        for group in groups.values():
            passed, layer = _best(seen, group)
            kept.setdefault(layer.name, (places[passed.name], layer))
    return [layer for _, layer in sorted(kept.values(), key=lambda pair: pair[0])]


def _answer(model: Model, output: Any) -> Tensor:
    """Return what a network says: its answer, all its scores, or else its first tensor."""
    if model.scores:
        told = [score(output) for name, score in model.scores.items() if callable(score)]
        return torch.stack([part.flatten(1).sum(1) if part.ndim > 1 else part for part in told], 1)
    try:
        return model.answer(output)
    except OptionError:
        first = first_tensor(output)
        if first is None:
            raise
        return first


def _plain(name: str) -> str:
    return name.removeprefix(WRAPPERS[0]).removeprefix(WRAPPERS[1])


def _passed(seen: Walk, name: str, shape: Sequence[int]) -> Passed | None:
    """Find a layer among those that were passed, or the outer one that returns what it does."""
    inside = split_name(name)[0]
    for passed in seen.passed:
        if _plain(passed.name) == inside:
            return passed
    outer = (p for p in seen.passed if f"{inside}.".startswith(f"{_plain(p.name)}.") and p.shape == tuple(shape))
    return next(outer, None)


def _read(model: Model, x: Any, passed: Passed) -> _Layer | None:
    """Tell how a layer's output reads, if that is as a grid of several cells."""
    shape, name, grid = passed.shape, _plain(passed.name), passed.grid
    if shape is None or (passed.tensors > 1 and not passed.grid):
        return None
    if grid is None and len(shape) == 3:
        grid = _told_grid(model, shape[1])
        if grid is None and (model.layout in (None, TOKENS) or not model.is_told(name)):
            return _Layer(name, shape, TOKENS, None, ()) if shape[1] > 1 else None
    try:
        layout = model.layout_of(name, shape, x, grid)
        sizes = tuple(read_grid(torch.empty(shape, device="meta"), layout, batch=1, grid=grid).shape[2:])
    except LayerError:
        return None
    return _Layer(name, shape, layout, grid, sizes) if max(sizes) > 1 else None


def _told_grid(model: Model, count: int) -> tuple[int, ...] | None:
    """Return the model's own grid of so many tokens."""
    if not callable(model.grid):
        return model.grid
    try:
        return tuple(model.grid(count))
    except Exception:  # it is the user's, and may know the default layer alone
        return None


def _best(seen: Walk, group: Sequence[tuple[Passed, _Layer]]) -> tuple[Passed, _Layer]:
    """Return the last layer of those with one grid that holds all of the answer, with a gradient if one has it."""
    whole: list[tuple[Passed, _Layer]] = []
    for passed, layer in reversed(group):
        if seen.is_trunk(passed):
            whole.append((passed, _judged(seen, passed, layer)))
            if whole[-1][1].gradient:
                return whole[-1]
            if len(whole) == TRIED:
                break
    passed, layer = group[-1]
    return whole[0] if whole else (passed, _judged(seen, passed, layer))


def _judged(seen: Walk, passed: Passed | None, layer: _Layer) -> _Layer:
    """Note whether a layer's cells have a gradient, and whether all of the answer passes through it."""
    if passed is None:
        return layer
    return replace(layer, gradient=_has_gradient(seen, passed), whole=seen.is_trunk(passed))


def _has_gradient(seen: Walk, passed: Passed) -> bool:
    try:
        slope = seen.gradient(passed)
    except RuntimeError:  # nothing that the network says depends on its input
        return False
    cells = slope.abs().sum((0, 2)) if slope.ndim == 3 else slope
    return int(cells.count_nonzero()) > (1 if slope.ndim == 3 else 0)  # the class token's alone is none


def _measured(model: Model, x: Any, layer: _Layer) -> _Layer | None:
    """Measure what a layer's tokens or rows stand for; None if that cannot be told."""
    try:
        if layer.sizes:
            if layer.layout.startswith(FOLDED) and not model.is_told(layer.name):
                model.rows_of(layer.name, x)  # else heads of attention look like parts of a clip
            return layer
        order = model.tokens_of(layer.name, layer.shape, x)
    except LayerError:
        return None
    return None if order is None or max(order.grid) < 2 else replace(layer, grid=order.grid, sizes=order.grid)


def _one_for_each_grid(model: Model, layers: Sequence[_Layer]) -> list[_Layer]:
    """Choose once more, now that the grids of tokens are known."""
    own = {layer.key for layer in layers if layer.name in (model.layer, model.when)}
    best: dict[tuple[int, ...], _Layer] = {}
    for layer in layers:
        other = best.get(layer.key, layer)
        best[layer.key] = max(other, layer, key=lambda one: (one.whole and one.gradient, one.whole, one is layer))
    return [
        layer
        for layer in layers
        if layer.name in (model.layer, model.when) or (layer.key not in own and layer is best[layer.key])
    ]


def _described(model: Model, x: Any, layer: _Layer) -> dict[str, Any]:
    """Describe a layer: measure how its cells lie in the input."""
    whole = dict(zip("thw", model.seen_by(layer.name, x).shape[2:], strict=True))
    axes, steps = grid_axes(layer.layout).split(), dict(_steps(model, x, layer))
    mark = " (default)" if layer.name == model.layer else " (when)" if layer.name == model.when else ""
    return {
        "layer": layer.name + mark,
        "grid": list(layer.sizes),
        "stride": [f"{steps[axis][0] or whole[axis] / n:g}" for axis, n in zip(axes, layer.sizes, strict=True)],
        "sees": [f"{min(steps[axis][1], whole[axis]):g}" for axis in axes],
        "gradient": layer.gradient,
        "whole": layer.whole,
    }


def _steps(model: Model, x: Any, layer: _Layer) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield stride and extent along each axis; of tokens that cannot be measured so, equal bins that see all."""
    axes = grid_axes(layer.layout).split()
    try:
        measured = model.axes_of(layer.name, model.clip_shape(x), layer.layout, layer.grid)
    except LayerError:
        yield from ((axis, (0.0, inf)) for axis in axes)
        return
    yield from ((axis, (own.stride, own.extent)) for axis, own in zip(axes, measured, strict=True))
