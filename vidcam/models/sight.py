"""Sight: how the layers of a model look at its inputs, and how their outputs read."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.containers import clip_in
from vidcam.attribution.geometry import Axis
from vidcam.attribution.layers import INPUT, grid_axes, named_alike, split_name
from vidcam.attribution.orders import Orders
from vidcam.attribution.question import TokenGrid
from vidcam.attribution.receptive_field import measure_axes
from vidcam.attribution.rows import RowOrder
from vidcam.attribution.tokens import TOKENS, TokenOrder
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import LayerError
from vidcam.models.inputs import Input, OneInput, arranged, as_clips
from vidcam.models.state import Beginning, Reset
from vidcam.types import Floats


class Sight:
    """What a `Model` tells of its layers; its slots are declared there."""

    name: str
    net: nn.Module
    layer: str
    layout: str | None
    grid: TokenGrid | None
    frames: int
    preprocessing: Preprocessing
    input_layout: str
    axes: dict[str, tuple[Axis, ...]]
    inputs: Mapping[str, Input]
    sees: Mapping[str, str]
    state: str | None
    reset: Reset
    _idle: dict[str, bool]
    _made: Beginning | None
    _measured: dict[tuple[str, str], tuple[Axis, ...]]
    _orders: Orders
    example: Callable[[], Any]

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are."""
        return next((p.device for p in self.net.parameters()), torch.device("cpu"))

    def input_of(self, layer: str) -> str | None:
        """Name the input that a layer's geometry is measured against; None where there is but one tensor."""
        if not self.inputs:
            return None
        prefix = self.prefix_of(layer)
        return next(iter(self.inputs)) if prefix is None else self.sees[prefix]

    def prefix_of(self, layer: str) -> str | None:
        """Return the longest prefix in `sees` that a layer's name has; None if no one said what the layer looks at."""
        name = split_name(layer)[0]
        inside = (prefix for prefix in self.sees if layer != INPUT and f"{name}.".startswith(f"{prefix}."))
        return max(inside, key=len, default=None)

    def seen_by(self, layer: str, x: Any) -> Tensor:
        """Return the clips (B, C, T, H, W) that a layer's geometry is measured against, of what the network is given.

        Of several inputs, "input" is the first one, as `capture` takes it.
        """
        name = self.input_of(layer)
        return as_clips(x if name is None else x[name], self.input_layout)

    def clip_shape(self, x: Any) -> Any:
        """Return (C, T, H, W) of what the network is given; of several inputs, by name."""
        if isinstance(x, Mapping):
            return named_alike(x, {name: self.clip_shape(part) for name, part in x.items()})
        return tuple(as_clips(x, self.input_layout).shape[1:])

    def preprocessing_of(self, layer: str) -> Preprocessing:
        """Return how frames become the pixels that a layer's geometry is measured against."""
        name = self.input_of(layer)
        return self.preprocessing if name is None else self.inputs[name].preprocessing

    def positions_of(self, layer: str, length: int) -> Floats:
        """Tell where the `length` frames of `seen_by` lie among the window's: simply at 0, 1, ... for one tensor."""
        name = self.input_of(layer)
        return (Input() if name is None else self.inputs[name]).positions(length, self.frames)

    def layout_of(self, layer: str, shape: Sequence[int], x: Any, grid: Sequence[int] | None = None) -> str:
        """Tell a layer's layout: the model's own, or by its shape; where that is ambiguous, like the model's own.

        Args:
            layer: a name as in `net.named_modules()`, or "input".
            shape: of the layer's output.
            x: what the network was fed with; of several inputs the one that the layer is measured against counts.
            grid: (t, h, w) of a layer that returns tokens.

        Raises:
            LayerError: the output reads as no grid, or as several.
        """
        if layer == INPUT:
            return self.input_layout
        if layer == self.layer and self.layout is not None:
            return self.layout
        name = self.input_of(layer)
        try:
            given = x if name is None else x[name]
            return self._orders.layout(self.net, x, layer, self.input_layout, given, shape, grid)
        except LayerError as error:
            if self.layout is None or len(re.findall(r"\([^)]*\)|\S+", self.layout)) != len(shape):
                raise LayerError(f"layer {layer!r} cannot be explained: {error}") from None
            return self.layout

    @property
    def orders(self) -> Orders:
        """What was measured of the layers' rows and tokens."""
        return self._orders

    def rows_of(self, layer: str, x: Any) -> RowOrder:
        """Tell which sample and frames each row of a layer's output holds, measured once for each size of a batch."""
        given = clip_in(x)
        assert given is not None  # the network has run on it
        return self._orders.rows(self.net, x, layer, self.input_layout, given)

    def tokens_of(self, layer: str, shape: Sequence[int], x: Any) -> TokenOrder | None:
        """Tell what the tokens (B, N, C) of a layer stand for, once measured; None if the model tells or has none."""
        if len(shape) != 3 or callable(self.grid) or self.layout not in (None, TOKENS):
            return None
        return self._orders.tokens(self.net, x, layer, self.input_layout, shape[1])

    def is_told(self, layer: str) -> bool:
        """Whether the model says how a layer's output reads, so that nothing is guessed."""
        return layer == INPUT or (layer == self.layer and self.layout is not None)

    def known_axes(self, layer: str) -> tuple[Axis, ...] | None:
        """Return the geometry that the model tells of a layer, also where one of its outputs is meant: "rnn[0]"."""
        return self.axes.get(layer, self.axes.get(split_name(layer)[0]))

    def channels_first(self, layer: str, x: Any = None) -> tuple[nn.Module, str]:
        """Return a network that takes the clips of `seen_by` alone, and the layer's name in it.

        The others of several inputs are held at their values in `x`.
        """
        name = self.input_of(layer)
        if name is None and self.input_layout == "b c t h w":
            return self.net, layer
        held = (
            {} if name is None else named_alike(x, {key: as_clips(part, self.input_layout) for key, part in x.items()})
        )
        return OneInput(self.net, self.input_layout, name, held), f"net.{layer}"

    def axes_of(
        self,
        layer: str,
        shape: Sequence[int] | Mapping[str, Sequence[int]],
        layout: str,
        grid: Sequence[int] | None = None,
        *,
        tokens: TokenOrder | None = None,
        axes: str = "thw",
    ) -> tuple[Axis, ...]:
        """Return a layer's geometry along each axis that its layout has, measured once where it is not known.

        It is that in the clips of `seen_by`: of several inputs, one is looked at while the others are zeros.

        Args:
            layer: like `layout`, `grid`, `tokens` and `axes` as in `measure_axes`.
            shape: (C, T, H, W) of the clips that the network is fed with; of several inputs, by name.
        """
        present = grid_axes(layout).replace(" ", "")
        if (told := self.known_axes(layer)) is not None:
            known = dict(zip(present, told, strict=True))
            return tuple(known[axis] for axis in present if axis in axes)
        if (layer, axes) not in self._measured:
            zeros: dict[str, Tensor] = {}
            if isinstance(shape, Mapping):
                parts = {key: arranged(torch.zeros(1, *own), self.input_layout) for key, own in shape.items()}
                zeros = named_alike(shape, parts)
                shape = shape[str(self.input_of(layer))]
            net, inside = self.channels_first(layer, zeros)
            how: dict[str, Any] = {"layout": layout, "grid": grid, "tokens": tokens, "axes": axes}
            self._measured[layer, axes] = measure_axes(net, shape, inside, **how)
        return self._measured[layer, axes]
