"""Looking: the layers of a network that are worth explaining, and how their outputs read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.layers import fitting_layouts, read_grid
from vidcam.attribution.orders import Orders
from vidcam.attribution.tokens import TokenOrder, find_tokens
from vidcam.attribution.trunk import Passed, Walk, walk
from vidcam.errors import LayerError

POOLINGS = (nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
"""Behind these there is nothing that was not there before, at fewer places."""


@dataclass(frozen=True)
class Outlook:
    """A layer that is worth explaining."""

    layer: str
    cells: str
    """What its output holds, for people."""
    grid: tuple[int, ...]
    """(t, h, w), or (h, w) where it knows no time."""
    sees: tuple[str, ...]
    """Of several inputs, those that it depends on."""
    holds_all: bool = True
    """Whether all of the answer passes through it, and not through it and others."""


def find_layers(net: nn.Module, x: Any, layout: str, answer: Callable[[Any], Tensor]) -> list[Outlook]:
    """Return the last layer that all of the answer passes through and that has a gradient at several cells.

    Where the answer comes together from several streams, it is the last one of each.

    Raises:
        LayerError: there is none.
    """
    with walk(net, x, answer) as seen:
        looking = _Looking(net, x, layout, answer(seen.output).shape[-1], seen)
        found = looking.of_all() or looking.of_streams()
    if not found:
        tried = f"; parts of it pass through {', '.join(looking.aside[:4])}" if looking.aside else ""
        raise LayerError(f"no layer that reads as a grid of cells holds all of the answer{tried}; say layer=")
    return found


class _Looking:
    """The modules that a forward has passed, from the last to the first."""

    def __init__(self, net: nn.Module, x: Any, layout: str, classes: int, seen: Walk) -> None:
        self.net, self.x, self.layout, self.classes, self.seen = net, x, layout, classes, seen
        self.aside: list[str] = []
        self.orders = Orders()

    def of_all(self) -> list[Outlook]:
        """Look for the layer, or for one that returns several streams, whose parts are then the layers."""
        for passed in reversed(self.seen.passed):
            if passed.tensors > 1 and passed.others:
                parts = self.seen.parts(passed) if self.seen.is_trunk(passed) else []
                found = [own for part in parts if (own := self._outlook(part, holds_all=len(parts) == 1)) is not None]
                if found:
                    return found
            elif not self._may_be_grid(passed):
                continue
            elif not self.seen.is_trunk(passed):
                self.aside.append(passed.name)
            elif (own := self._outlook(passed)) is not None:
                return [own]
        return []

    def of_streams(self) -> list[Outlook]:
        """Look for the last layer that all of what comes of one input passes through, for each of several inputs."""
        if not isinstance(self.x, Mapping):
            return []
        found: dict[str, Outlook] = {}
        for name in self.x:
            for passed in reversed(self.seen.passed):
                if self._may_be_grid(passed) and self.seen.is_trunk(passed, name):
                    if name in self.seen.sees(passed) and (own := self._outlook(passed, holds_all=False)) is not None:
                        found[own.layer] = own
                        break
        return [*found.values()]

    def _outlook(self, passed: Passed, *, holds_all: bool = True) -> Outlook | None:
        """Describe a layer if it has a gradient at several cells."""
        if not self._may_be_grid(passed):
            return None
        gradient = self.seen.gradient(passed)
        if passed.shape and len(passed.shape) == 3 and int(gradient.abs().sum((0, 2)).count_nonzero()) < 2:
            return None  # the class token's alone: what tokens stand for need not be measured
        reading = self._reading(passed)
        if reading is None or reading.cells(gradient) < 2:
            return None
        sees = tuple(self.seen.sees(passed)) if isinstance(self.x, Mapping) else ()
        return Outlook(passed.name, str(reading), reading.grid, sees, holds_all)

    def _may_be_grid(self, passed: Passed) -> bool:
        """Whether a layer's shape can be that of a grid, and not of pooled features or of the answer."""
        shape, module = passed.shape, self.net.get_submodule(passed.name)
        if shape is None or len(shape) < 3 or passed.tensors > 1 or isinstance(module, POOLINGS):
            return False
        if len(shape) == 3:
            return shape[1] > 1 and shape[2] != self.classes
        return bool(self._layouts(shape))

    def _reading(self, passed: Passed) -> "_Grid | _Tokens | None":
        """Tell how a layer's output reads, if that is as a grid of several cells."""
        assert passed.shape is not None
        return self._of_tokens(passed, passed.shape) if len(passed.shape) == 3 else self._of_grid(passed, passed.shape)

    def _layouts(self, shape: tuple[int, ...]) -> list[tuple[Tensor, str]]:
        """Return the layouts that a shape can have as a grid of several cells, and the inputs beside which it has."""
        found = []
        for part in self.x.values() if isinstance(self.x, Mapping) else [self.x]:
            for layout in fitting_layouts(shape, part, given_as=self.layout):
                read = read_grid(torch.empty(shape, device="meta"), layout, batch=1).shape
                if read[-1] * read[-2] > 1 and read[1] != self.classes:
                    found.append((part, layout))
        return found

    def _of_grid(self, passed: Passed, shape: tuple[int, ...]) -> "_Grid | None":
        part, layout = self._layouts(shape)[0]
        try:
            layout = self.orders.layout(self.net, self.x, passed.name, self.layout, part, shape)
        except LayerError:
            return None
        return _Grid(layout, tuple(read_grid(torch.empty(shape, device="meta"), layout, batch=1).shape[2:]))

    def _of_tokens(self, passed: Passed, shape: tuple[int, ...]) -> "_Tokens | None":
        count = shape[1]
        if passed.grid is not None:
            t, h, w = passed.grid
            return _Tokens(TokenOrder(list(range(count - t * h * w, count)), (t, h, w), count))
        try:
            order = find_tokens(self.net, self.x, self.layout, count, passed.name)
        except LayerError:
            return None
        return None if order is None or order.grid[1] * order.grid[2] < 2 else _Tokens(order)


@dataclass(frozen=True)
class _Grid:
    """A layer's output that reads as a grid."""

    layout: str
    grid: tuple[int, ...]

    def cells(self, gradient: Tensor) -> int:
        """Count the cells at which there is a gradient."""
        return int(read_grid(gradient, self.layout, batch=1).abs().sum((0, 1)).count_nonzero())

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.grid))} cells"


@dataclass(frozen=True)
class _Tokens:
    """A layer's output that holds tokens."""

    order: TokenOrder

    @property
    def grid(self) -> tuple[int, ...]:
        """(t, h, w)."""
        return self.order.grid

    def cells(self, gradient: Tensor) -> int:
        """Count the cells at which there is a gradient."""
        return int(gradient[:, self.order.order].abs().sum((0, 2)).count_nonzero())

    def __str__(self) -> str:
        others = self.order.count - len(self.order.order)
        more = f", {others} other token{'s' * (others > 1)}" if others else ""
        sort = "in order t h w" if self.order.is_sorted else "in an order of their own"
        return f"{'x'.join(map(str, self.order.grid))} tokens{more}, {sort}, measured"
