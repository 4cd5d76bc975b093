"""Orders: what was measured of a network's layers, rows and tokens, so that each is measured once."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from vidcam.attribution.rows import RowOrder, find_rows
from vidcam.attribution.tokens import TokenOrder, find_tokens


@dataclass
class Orders:
    """Of one network."""

    _rows: dict[tuple[str, int], RowOrder] = field(default_factory=dict)
    _tokens: dict[tuple[str, int], TokenOrder | None] = field(default_factory=dict)

    def rows(self, net: nn.Module, x: Any, layer: str, layout: str, given: Tensor) -> RowOrder:
        """Return what `find_rows` finds; `given` is the first tensor of x."""
        key = (layer, len(given))
        if key not in self._rows:
            self._rows[key] = find_rows(net, x, layer, layout)
        return self._rows[key]

    def tokens(self, net: nn.Module, x: Any, layer: str, layout: str, count: int) -> TokenOrder | None:
        """Return what `find_tokens` finds."""
        key = (layer, count)
        if key not in self._tokens:
            self._tokens[key] = find_tokens(net, x, layout, count, layer)
        return self._tokens[key]
