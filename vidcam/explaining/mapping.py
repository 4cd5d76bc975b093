"""Where heat lies: a layer's slots on a window's frames, windows on the source's frames, cells on its pixels.

This is the one place. A layer's slots and cells are placed on what the network was fed with (`Placing`), overlapping
windows are blended on the source's frames (`blend`, `fill`), and positions in the network's frame become the source's
pixels (`vidcam.data.preprocessing.View`), between which heat is spread (`spreading`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isinf
from typing import Any, Literal

import numpy as np

from vidcam.attribution.geometry import (
    PLACEMENTS,
    Along,
    Axis,
    Mode,
    interpolation_matrix,
    linear,
)
from vidcam.attribution.layers import INPUT, grid_axes
from vidcam.attribution.receptive_field import effective_centers
from vidcam.attribution.tokens import TokenOrder
from vidcam.errors import OptionError
from vidcam.models.model import Model
from vidcam.types import Floats

Cells = Literal["layer", "input"]


@dataclass(frozen=True)
class Readout:
    """How a layer's output reads."""

    layer: str
    layout: str
    """Einops pattern."""
    grid: tuple[int, ...] | None = None
    """(t, h, w) of a layer that returns tokens."""
    time: Axis | None = None
    """Where its slots lie in time, where that was measured together with what its rows hold."""
    assumed: bool = False
    """Whether the order of its tokens could not be measured, and is taken to be time, rows, columns."""
    tokens: TokenOrder | None = None
    """What its tokens stand for, where that was measured."""

    @property
    def axes(self) -> list[str]:
        """Which of t, h, w the layer has."""
        return grid_axes(self.layout).split()


@dataclass
class Placing:
    """Where the slots and cells of the explained layer lie; known after a first window."""

    model: Model
    placement: tuple[str, str]
    """Names of `PLACEMENTS`, for time and for space."""
    cells: Cells = "layer"
    """Whether maps have the layer's own cells, or equal bins of the network's input."""
    rows: Floats | None = None
    """(h,) where the rows of cells lie in the network's frame, in pixels."""
    columns: Floats | None = None
    spread: Mode = "linear"
    axes: dict[str, Axis] = field(default_factory=dict)
    """Geometry of the layer, by t, h, w, as far as it was asked for."""
    notes: list[str] = field(default_factory=list)
    """What had to be done otherwise than asked."""
    _centroids: dict[str, Floats] | None = None

    @property
    def time_mode(self) -> Mode:
        """How frames between slots are filled in."""
        return PLACEMENTS[self.placement[0]].mode

    def lay(self, cells: Floats, reading: Readout, x: Any) -> Floats:
        """(B, t, h, w) -> (B, T, h, w): lay slots on the window's frames; notes where its cells lie as well."""
        _, length, height, width = self.model.seen_by(reading.layer, x).shape[1:]
        if self.cells == "layer" and not self.axes:  # what a slot can see is always told
            known = self.model.known_axes(reading.layer) is not None
            self.axes = self.axes_of(reading, x, "thw" if known else "t")
        if self.rows is None:
            self.rows, self.spread = self.positions(reading, "h", cells.shape[2], height, x)
            self.columns, _ = self.positions(reading, "w", cells.shape[3], width, x)
        positions, mode = self.positions(reading, "t", cells.shape[1], length, x)
        laid: Floats = np.einsum("Tt,bthw->bThw", self._on_window(positions, mode, reading, length), cells)
        return laid

    def positions(self, reading: Readout, axis: str, slots: int, length: int, x: Any) -> tuple[Floats, Mode]:
        """Place the explained layer's slots along one axis of the network's input."""

        def geometry() -> Axis:
            if axis not in self.axes:
                self.axes |= self.axes_of(reading, x, axis)
            if isinf(self.axes[axis].extent):
                self._note(
                    f"along {axis} every cell of {reading.layer!r} sees everything, or what it sees could not be "
                    "measured: cells are placed at the middles of equal bins of all that the network is given"
                )
            return self.axes[axis]

        # of tokens that are brought into order no centroids can be measured
        centroids = (
            None
            if reading.tokens is not None and not reading.tokens.is_sorted
            else lambda: self._measured(reading, x, slots)[axis]
        )
        along = Along(slots, length, geometry, centroids)
        if slots == 1:  # one slot is the whole axis, wherever it is put
            return np.array([(length - 1) / 2]), "linear"
        if self.cells == "input":
            return linear(along), "linear"
        kind = self.placement[0 if axis == "t" else 1]
        if (positions := _in_order(kind, along)) is None:
            self._note(f"the {kind} centers along {axis} are not in order for this clip: 'linear' places them instead")
            return linear(along), "linear"
        return positions, PLACEMENTS[kind].mode

    def _note(self, note: str) -> None:
        self.notes += [] if note in self.notes else [note]

    def moments(self, share: Floats, reading: Readout, x: Any) -> Floats:
        """(B, t) -> (B, T): lay what an earlier layer's slots tell on the window's frames."""
        length = self.model.seen_by(reading.layer, x).shape[2]
        along = Along(share.shape[1], length, lambda: self.axes_of(reading, x, "t")["t"])
        try:
            positions = _in_order(self.placement[0], along)
        except OptionError:  # centroids are measured for the explained layer alone
            positions = None
        mode: Mode = "linear" if positions is None else self.time_mode
        positions = linear(along) if positions is None else positions
        laid: Floats = np.einsum("Tt,bt->bT", self._on_window(positions, mode, reading, length), share)
        return laid

    def axes_of(self, reading: Readout, x: Any, wanted: str) -> dict[str, Axis]:
        """Return the geometry of a layer by the names of its axes."""
        if reading.layer == INPUT:
            return {axis: Axis(1, 0, 1) for axis in "thw"}
        shape, told = self.model.clip_shape(x), {}
        if reading.time is not None and "t" in wanted:
            told, wanted = {"t": reading.time}, wanted.replace("t", "")
        how: dict[str, Any] = {"tokens": reading.tokens, "axes": wanted}
        axes = self.model.axes_of(reading.layer, shape, reading.layout, reading.grid, **how) if wanted else ()
        return told | dict(zip([axis for axis in reading.axes if axis in wanted], axes, strict=True))

    def _on_window(self, positions: Floats, mode: Mode, reading: Readout, length: int) -> Floats:
        """(T, t) weights for slots at positions among the frames of the layer's own input."""
        own = self.model.positions_of(reading.layer, length)  # one of several inputs may take every other frame only
        step = own[1] - own[0] if length > 1 else 1
        return interpolation_matrix(own[0] + step * positions, self.model.frames, mode=mode)

    def _measured(self, reading: Readout, x: Any, slots: int) -> dict[str, Floats]:
        """Return where gradient energy is centered, per axis, for the first window."""
        if self._centroids is None:
            net, layer = self.model.channels_first(reading.layer, x)
            clip = self.model.seen_by(reading.layer, x)[:1]
            told: dict[str, Any] = {"layout": reading.layout, "grid": reading.grid, "tokens": reading.tokens}
            centers = effective_centers(net, clip, layer, **told)
            self._centroids = dict(zip(reading.axes, centers, strict=True))
        if reading.time is None:
            return self._centroids
        return self._centroids | {"t": reading.time.centers(slots)}  # of all rows, which one sample alone may not tell


def _in_order(kind: str, along: Along) -> Floats | None:
    """Return a placement's positions, if they increase."""
    positions = PLACEMENTS[kind].lay(along)
    return positions if (np.diff(positions) > 0).all() else None  # NaN is not greater either


def blend(
    parts: Mapping[int, Floats], frames: Mapping[int, tuple[int, ...]], seconds: Floats, *, nearest: bool
) -> Floats:
    """Average what overlapping windows say of each of the source's frames: (T, ...) per window -> (F, ...).

    A window's middle weighs most, its ends least (1, 2, ..., 2, 1). A frame that was sampled several times, or
    repeated to fill a window, gets the average of its samples.

    Args:
        parts: the values per window.
        frames: the source's frame of every sample, per window.
        seconds: (F,) when the source's frames are shown.
        nearest: whether a frame between samples takes the nearest sample's value, and is not interpolated.
    """
    shape = next(iter(parts.values())).shape[1:]
    total, weight = np.zeros((len(seconds), *shape)), np.zeros(len(seconds))
    for start, part in parts.items():
        ramp = np.minimum(np.arange(len(part)) + 1, np.arange(len(part), 0, -1)).astype(float)
        np.add.at(total, list(frames[start]), part * _beside(ramp, part))
        np.add.at(weight, list(frames[start]), ramp)
    known = np.flatnonzero(weight)
    values = total[known] / _beside(weight[known], total)
    return fill(values, seconds[known], seconds, nearest=nearest)


def of_whole_frames(part: Floats, frames: Sequence[int]) -> Floats:
    """(T, ...) -> (T, ...): give each of a window's samples what all samples of its frame add up to.

    So are shares and sums told, such as attention: a frame that fills four places of a window holds all they get.
    """
    _, place = np.unique(frames, return_inverse=True)
    total = np.zeros((place.max() + 1, *part.shape[1:]), part.dtype)
    np.add.at(total, place, part)
    whole: Floats = total[place]
    return whole


def fill(values: Floats, known: Floats, wanted: Floats, *, nearest: bool) -> Floats:
    """Interpolate (n, ...) values known at some times, linearly or from the nearest; constant beyond the ends."""
    if len(known) == 1:
        return np.repeat(values, len(wanted), axis=0)
    after = np.searchsorted(known, wanted).clip(1, len(known) - 1)
    share = ((wanted - known[after - 1]) / (known[after] - known[after - 1])).clip(0, 1)
    share = _beside((share > 0.5).astype(float) if nearest else share, values)
    filled: Floats = values[after - 1] * (1 - share) + values[after] * share
    return filled


def _beside(weights: Floats, values: Floats) -> Floats:
    """(n,) -> (n, 1, ...) with as many axes as the values."""
    return weights.reshape(-1, *[1] * (values.ndim - 1))


def spreading(
    rows: Floats, columns: Floats, *, size: tuple[int, int], region: tuple[float, float, float, float], mode: Mode
) -> tuple[Floats, Floats]:
    """Return the matrices (H, h) and (w, W) with which `down @ heat @ across` is heat per source pixel.

    Rows, columns, region and mode, the `spread`, are those of an `Explanation`; the size is (H, W) of its source.
    Outside the region heat is zero.
    """
    left, top, right, bottom = region
    down = interpolation_matrix(rows, size[0], mode=mode)
    across = interpolation_matrix(columns, size[1], mode=mode)
    y, x = np.arange(size[0]), np.arange(size[1])
    down[(y < top) | (y > bottom)] = 0
    across[(x < left) | (x > right)] = 0
    return down, across.T
