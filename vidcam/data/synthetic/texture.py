"""Textures that tile, stored at all resolutions so that they can be read without aliasing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidcam.types import Floats

SIZE = 512  # texels along a tile's side
_LEVELS = 10


@dataclass(frozen=True)
class Textures:
    """Several square tiles in one flat table of texels, level after level, each half as wide as the one before."""

    texels: NDArray[np.uint8]  # (N, 3)
    starts: NDArray[np.int32]  # (levels,) where each level begins

    def sample(self, tile: NDArray[np.integer], u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Read `(N, 3)` colors in gray levels at the places `(N,)`, blurred over the footprint.

        Places and footprints are in tiles: 1 is the tile's side, and tiles repeat for ever.
        """
        level = np.clip(np.log2(np.maximum(footprint * SIZE, 1)), 0, _LEVELS - 1.001).astype(np.float32)
        fine = level.astype(np.int32)
        u, v = u - np.floor(u), v - np.floor(v)
        one, other = (self._read(tile, u, v, fine + k) for k in (0, 1))
        one += (level - fine)[:, None] * (other - one)
        return one

    def _read(self, tile: NDArray[np.integer], u: Floats, v: Floats, level: NDArray[np.int32]) -> Floats:
        """Interpolate bilinearly in one level."""
        size = np.right_shift(np.int32(SIZE), level)
        x, y = u * size - np.float32(0.5), v * size - np.float32(0.5)
        left, low = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        right_share, high_share = (x - left)[:, None], (y - low)[:, None]
        mask, first = size - 1, self.starts[level] + tile.astype(np.int32) * size * size
        rows = (first + (low & mask) * size, first + ((low + 1) & mask) * size)
        columns = (left & mask, (left + 1) & mask)
        (a, b), (c, d) = ([self.texels.take(r + k, axis=0).astype(np.float32) for k in columns] for r in rows)
        a += right_share * (b - a)
        c += right_share * (d - c)
        a += high_share * (c - a)
        return np.asarray(a)


def stack(tiles: Sequence[Floats]) -> Textures:
    """Build the levels of tiles `(SIZE, SIZE, 3)` with values between 0 and 1."""
    level = np.clip(np.stack(tiles), 0, 1).astype(np.float32)
    flat: list[NDArray[np.uint8]] = []
    starts: list[int] = []
    for _ in range(_LEVELS):
        starts.append(sum(len(part) for part in flat))
        flat.append((255 * level + 0.5).astype(np.uint8).reshape(-1, 3))
        if level.shape[1] > 1:
            half = level.shape[1] // 2
            level = level.reshape(len(level), half, 2, half, 2, 3).mean(axis=(2, 4))
    return Textures(np.concatenate(flat), np.array(starts, np.int32))


def noise(rng: np.random.Generator, *, cycles: tuple[float, float], slope: float = 1.0) -> Floats:
    """Draw noise `(SIZE, SIZE)` that tiles, of standard deviation 1.

    Frequencies are `cycles[0]` to `cycles[1]` per tile; the amplitude falls with the frequency to the power `slope`.
    """
    frequency = np.hypot(np.fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.fft.rfftfreq(SIZE, 1 / SIZE))
    inside = (frequency >= cycles[0]) & (frequency <= cycles[1])
    gain = np.where(inside, np.maximum(frequency, 1) ** -slope, 0)
    drawn = np.fft.irfft2(gain * np.fft.rfft2(rng.standard_normal((SIZE, SIZE))), (SIZE, SIZE))
    return np.asarray(drawn / drawn.std(), np.float32)
