"""A road that winds for ever: its middle line, and where any point of the ground lies along and across it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcam.types import Floats

LANE = 1.75  # from the middle line to the middle of each lane
EDGE = 5.7  # to the kerb
PAVED = 8.0  # to the end of the pavement
_STEP = 0.5  # of the table along the middle line
_AWAY = 99.0  # the distance across that is told where the ground is far from the road
_MARGIN = 24


@dataclass(frozen=True)
class Road:
    """The road's middle line as a table over the distance along it, in metres; x to the east and z to the north.

    The heading swings around north and never reaches 60 degrees: the road cannot cross itself, whatever its length.
    """

    waves: Floats  # (N, 3) amplitude in radians, length in metres, phase of the heading's waves
    along: Floats  # (S,)
    middle: Floats  # (S, 2) x and z

    def heading(self, along: Floats) -> Floats:
        """Give the direction in radians from north, positive to the right."""
        amplitude, length, phase = self.waves.T[..., None]
        heading: Floats = (amplitude * np.sin(2 * math.pi * np.ravel(along) / length + phase)).sum(axis=0)
        return heading.reshape(np.shape(along))

    def curvature(self, along: Floats) -> Floats:
        """Give the change of heading in radians per metre."""
        amplitude, length, phase = self.waves.T[..., None]
        waves = np.cos(2 * math.pi * np.ravel(along) / length + phase)
        return np.asarray((2 * math.pi * amplitude / length * waves).sum(axis=0).reshape(np.shape(along)))

    def place(self, along: Floats, across: Floats | float) -> Floats:
        """Give `(..., 2)` x and z of points so far along the road and so far to the right of its middle line."""
        x, z = (np.interp(along, self.along, values) for values in self.middle.T)
        heading = self.heading(along)
        return np.stack([x + across * np.cos(heading), z - across * np.sin(heading)], axis=-1)

    def locate(self, x: Floats, z: Floats) -> tuple[Floats, Floats]:
        """Give the distances along and across of points on the ground; those far off are 99 m across."""
        along = np.interp(z, self.middle[:, 1], self.along)
        for _ in range(8):
            along = along + self._offset(x, z, along)[0]
        rest, across = self._offset(x, z, along)
        # The heading never turns back, so the side is that of the road's point as far north.
        side = x - np.interp(z, self.middle[:, 1], self.middle[:, 0])
        return along, np.where((np.abs(rest) < 0.1) & (np.abs(across) < 15), across, np.copysign(_AWAY, side))

    def _offset(self, x: Floats, z: Floats, along: Floats) -> tuple[Floats, Floats]:
        middle, heading = self.place(along, 0.0), self.heading(along)
        x, z, sine, cosine = x - middle[..., 0], z - middle[..., 1], np.sin(heading), np.cos(heading)
        return x * sine + z * cosine, x * cosine - z * sine


def wind(rng: np.random.Generator, start: float, stop: float) -> Road:
    """Lay a road between two distances along it: long bends both ways with shorter ones over them."""
    amplitude, length = rng.uniform((0.5, 0.1), (0.6, 0.14)), rng.uniform((85, 38), (105, 46))
    waves = np.stack([amplitude, length, rng.uniform(0, 2 * math.pi, 2)], axis=1)
    along = np.arange(start, stop + _STEP, _STEP)
    heading = Road(waves, along, np.zeros((len(along), 2))).heading(along)
    ways = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    middle = np.concatenate([np.zeros((1, 2)), np.cumsum((ways[1:] + ways[:-1]) / 2 * _STEP, axis=0)])
    return Road(waves, along, middle)


@dataclass(frozen=True)
class RoadMap:
    """The road's coordinates on a grid of one metre, between which they are interpolated."""

    corner: Floats  # (2,) x and z of the first cell
    cells: NDArray[np.float32]  # (Z, X, 2) along and across

    def locate(self, x: Floats, z: Floats) -> NDArray[np.float32]:
        """Give `(N, 2)` distances along and across of points `(N,)`; beyond the map, those of its border."""
        height, width = self.cells.shape[:2]
        column, row = np.clip(x - self.corner[0], 0, width - 1.001), np.clip(z - self.corner[1], 0, height - 1.001)
        i, j = row.astype(np.int32), column.astype(np.int32)
        right, down = (column - j).astype(np.float32)[:, None], (row - i).astype(np.float32)[:, None]
        flat, first = self.cells.reshape(-1, 2), i * width + j
        top = flat[first] * (1 - right) + flat[first + 1] * right
        bottom = flat[first + width] * (1 - right) + flat[first + width + 1] * right
        return np.asarray(top * (1 - down) + bottom * down)


def survey(road: Road) -> RoadMap:
    """Measure the ground around a road."""
    low, high = np.floor(road.middle.min(axis=0)) - _MARGIN, np.ceil(road.middle.max(axis=0)) + _MARGIN
    x, z = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    cells = np.stack(road.locate(x, z), axis=-1).astype(np.float32)
    return RoadMap(low, cells)
