"""Where a layer's slots lie in the input, and up-sampling that respects it; positions are 0-based input indices."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vidcam.errors import OptionError, unknown
from vidcam.types import Floats

Mode = Literal["linear", "nearest"]


@dataclass(frozen=True)
class Axis:
    """Describe where the slots of a layer look along one axis of the input.

    Attributes:
        stride: input samples between neighboring slots.
        center: input index at the middle of slot 0's receptive field, not clipped to the input.
        extent: input samples that one slot can depend on, not clipped; `math.inf` if every slot sees all.
    """

    stride: float
    center: float
    extent: float

    def __post_init__(self) -> None:
        if not (self.stride > 0 and math.isfinite(self.stride) and math.isfinite(self.center) and self.extent > 0):
            raise OptionError(f"an axis needs a positive stride and extent and a finite center, not {self}")

    def centers(self, slots: int) -> Floats:
        """Give the nominal center of each slot (slots,)."""
        return self.center + self.stride * np.arange(slots, dtype=float)


@dataclass(frozen=True)
class Along:
    """One axis of an input of `length` samples, along which a layer's `slots` are to be laid."""

    slots: int
    length: int
    axis: Callable[[], Axis]
    """Tells the layer's nominal geometry, measured when it is asked for."""
    centroids: Callable[[], Floats] | None = None
    """Tells (slots,) the centroids of gradient energy, measured when they are asked for."""


def centers(along: Along) -> Floats:
    """Lay slots at the nominal centers of their receptive fields."""
    return along.axis().centers(along.slots)


def linear(along: Along) -> Floats:
    """Lay slots at the middles of equal bins."""
    return (np.arange(along.slots) + 0.5) * along.length / along.slots - 0.5


def effective(along: Along) -> Floats:
    """Lay slots at the measured centroids of their gradient energy, with the actual weights on an actual input."""
    if along.centroids is None:
        raise OptionError("placement 'effective' needs measured centroids; measure them or choose 'linear'")
    return along.centroids()


def nearest(along: Along) -> Floats:
    """Give each sample the slot in whose equal bin it lies."""
    return linear(along)


def ends(along: Along) -> Floats:
    """Spread slots from the first sample to the last."""
    if along.slots == 1:
        return np.array([(along.length - 1) / 2])
    return np.linspace(0, along.length - 1, along.slots)


@dataclass(frozen=True)
class Placement:
    """How slots are laid on an axis."""

    lay: Callable[[Along], Floats]
    """Gives the positions (slots,) of an axis's slots."""
    mode: Mode = "linear"
    """How to fill in between them."""


PLACEMENTS: dict[str, Placement] = {
    row.lay.__name__: row
    for row in (*map(Placement, (centers, linear, effective)), Placement(nearest, "nearest"), Placement(ends))
}
"""Every placement by its name. To add one, write the function and its row."""


def find_placement(name: str) -> Placement:
    """Return the placement of that name; an OptionError names near matches."""
    if name not in PLACEMENTS:
        raise OptionError(unknown("placement", name, PLACEMENTS))
    return PLACEMENTS[name]


def interpolation_matrix(positions: ArrayLike, samples: ArrayLike, *, mode: Mode = "linear") -> NDArray[np.float32]:
    """Weigh slots at `positions` (n,) to give the values at `samples` (L,): a matrix (L, n) whose rows sum to 1.

    Values are linear between neighboring positions, or those of the nearest position (of two equally near, the
    earlier), and constant beyond the first and the last position. An integer stands for the indices 0 to L-1.

    Raises:
        OptionError: the positions do not increase, or no such mode.
    """
    places = np.asarray(positions, dtype=float)
    if places.ndim != 1 or not len(places) or not np.isfinite(places).all() or not (np.diff(places) > 0).all():
        shown = np.array2string(places, precision=3, separator=", ", threshold=8).replace("\n", "")
        raise OptionError(f"positions must be finite and strictly increasing along one axis, not {shown}")
    points = np.asarray(samples, dtype=float)
    points = np.arange(float(points)) if points.ndim == 0 else points
    if mode not in get_args(Mode):
        raise OptionError(unknown("mode", mode, get_args(Mode)))
    if mode == "nearest":
        nearest = np.searchsorted((places[1:] + places[:-1]) / 2, points, side="left")
        return np.eye(len(places), dtype=np.float32)[nearest]
    # Interpolating the unit vectors gives the weights; np.interp clamps beyond the ends.
    columns = [np.interp(points, places, unit) for unit in np.eye(len(places))]
    return np.stack(columns, axis=1).astype(np.float32)
