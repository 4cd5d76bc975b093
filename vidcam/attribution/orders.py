"""Orders: what was measured of a network's layers, rows and tokens, so that each is measured once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from vidcam.attribution.layers import fitting_layouts, infer_layout
from vidcam.attribution.rows import RowOrder, find_rows
from vidcam.attribution.sides import find_layout
from vidcam.attribution.tokens import TokenOrder, find_tokens


@dataclass
class Orders:
    """Of one network."""

    _layouts: dict[tuple[str, tuple[int, ...]], str | None] = field(default_factory=dict)
    _rows: dict[tuple[str, int], RowOrder] = field(default_factory=dict)
    _tokens: dict[tuple[str, int], TokenOrder | None] = field(default_factory=dict)

    def rows(self, net: nn.Module, x: Any, layer: str, layout: str, given: Tensor) -> RowOrder:
        """Return what `find_rows` finds; `given` is the first tensor of x."""
        key = (layer, len(given))
        if key not in self._rows:
            self._rows[key] = find_rows(net, x, layer, layout)
        return self._rows[key]

    def layout(
        self,
        net: nn.Module,
        x: Any,
        layer: str,
        own: str,
        given: Tensor,
        shape: Sequence[int],
        grid: Sequence[int] | None = None,
    ) -> str:
        """Return what `infer_layout` tells of a layer's shape, measured where several layouts fit.

        Args:
            net: the network, and `x` what it is given.
            layer: the layer's name.
            own: layout of the input.
            given: the tensor of the input that the layer looks at.
            shape: of the layer's output.
            grid: (t, h, w) of tokens.

        Raises:
            LayerError: no layout fits, or which of several does cannot be measured.
        """
        fitting = fitting_layouts(shape, given, grid=grid, given_as=own)
        if len(fitting) > 1:
            key = (layer, tuple(shape[1:]))
            if key not in self._layouts:
                self._layouts[key] = find_layout(net, x, layer, own, fitting)
            if (found := self._layouts[key]) is not None:
                return found
        return infer_layout(shape, given, grid=grid, given_as=own)

    def tokens(self, net: nn.Module, x: Any, layer: str, layout: str, count: int) -> TokenOrder | None:
        """Return what `find_tokens` finds."""
        key = (layer, count)
        if key not in self._tokens:
            self._tokens[key] = find_tokens(net, x, layout, count, layer)
        return self._tokens[key]
