"""Sides: which way a layer's output lies, where its shape fits several layouts.

What comes from one side of the input, its first or last frames, rows or columns, is marked: along the axis that is that
of the layer, its output changes at that side most, and along its channels as it happens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.layers import find_layer, grid_axes, read_grid
from vidcam.attribution.marks import Marker, looking

CLEAR = 2.0
"""How many times more an axis must change at the marked side than at the other."""


def find_layout(net: nn.Module, x: Any, layer: str, given_as: str, layouts: Sequence[str]) -> str | None:
    """Return the only one of several layouts that a layer's output can have; None if it cannot be told.

    Args:
        net: any network; it is left as it was found. It runs some seven times as far as the layer.
        x: its input.
        layer: the layer's name.
        given_as: the layout of the input, as "b c t h w".
        layouts: those that fit the shape.
    """
    with looking(net):
        marker, module = Marker(net, x, given_as, ink="turned", layer=layer), find_layer(net, layer)
        base = marker.outputs(None, module, calls=None)
        changed = {
            (axis, end): marker.outputs(_side(marker, axis, end), module, calls=None) - base
            for axis in "thw"
            for end in (0, 1)
            if marker.sizes[axis] > 1
        }
    right = [layout for layout in layouts if _lies(layout, changed, marker.batch)]
    return right[0] if len(right) == 1 else None


def _side(marker: Marker, axis: str, end: int) -> Tensor:
    """(1, T, H, W) with a quarter of an axis marked, at its start or its end."""
    size = marker.sizes[axis]
    marks = torch.zeros(size, dtype=torch.bool)
    width = max(1, size // 4)
    marks[size - width if end else 0 : size if end else width] = True
    return marks.reshape([1, *(size if each == axis else 1 for each in "thw")])


def _lies(layout: str, changed: dict[tuple[str, int], Tensor], batch: int) -> bool:
    """Whether each axis that the layout has changes at the side that was marked, for both of its sides."""
    axes = grid_axes(layout).split()
    for (axis, end), change in changed.items():
        if axis not in axes:
            continue
        cells = (
            read_grid(change, layout, batch=batch).square().sum((0, 1)).movedim(axes.index(axis), 0).flatten(1).sum(1)
        )
        if len(cells) > 1:
            half = len(cells) // 2
            first, last = float(cells[:half].sum()), float(cells[-half:].sum())
            if (last if end else first) <= CLEAR * (first if end else last):
                return False
    return True
