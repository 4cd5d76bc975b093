"""What the surfaces of a street look like: one tile per material, drawn from noise and a few shapes.

Tiles are stored at all resolutions, to be read without aliasing. On upright surfaces their rows go up from the ground.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vidcam.data.synthetic.road import EDGE, PAVED
from vidcam.types import Floats

SIZE = 512  # texels along a tile's side
_LEVELS = SIZE.bit_length()
_ROW, _COLUMN = np.mgrid[:SIZE, :SIZE].astype(np.float32)
_DARK_GLASS = np.array((0.16, 0.2, 0.25), np.float32)
_RUBBER = np.array((0.07, 0.07, 0.08), np.float32)


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


def paint_tiles(rng: np.random.Generator) -> Textures:
    """Draw all materials, in the order of `MATERIALS`, at all resolutions."""
    levels = [np.clip(np.stack([paint(rng) for paint, _ in _PAINTS.values()]), 0, 1).astype(np.float32)]
    while half := levels[-1].shape[1] // 2:
        levels.append(levels[-1].reshape(-1, half, 2, half, 2, 3).mean(axis=(2, 4)))
    flat = [(255 * level + 0.5).astype(np.uint8).reshape(-1, 3) for level in levels]
    return Textures(np.concatenate(flat), np.cumsum([0, *map(len, flat[:-1])], dtype=np.int32))


def noise(rng: np.random.Generator, *, cycles: tuple[float, float], slope: float = 1.0) -> Floats:
    """Draw noise `(SIZE, SIZE)` that tiles, of standard deviation 1.

    Frequencies are `cycles[0]` to `cycles[1]` per tile; the amplitude falls with the frequency to the power `slope`.
    """
    frequency = np.hypot(np.fft.fftfreq(SIZE, 1 / SIZE)[:, None], np.fft.rfftfreq(SIZE, 1 / SIZE))
    inside = (frequency >= cycles[0]) & (frequency <= cycles[1])
    gain = np.where(inside, np.maximum(frequency, 1) ** -slope, 0)
    drawn = np.fft.irfft2(gain * np.fft.rfft2(rng.standard_normal((SIZE, SIZE))), (SIZE, SIZE))
    return np.asarray(drawn / drawn.std(), np.float32)


def _street(rng: np.random.Generator) -> Floats:
    """Draw 16 m of road, from the left pavement's end to the right's: the columns go across."""
    along, across = _ROW * (2 * PAVED / SIZE), np.abs((_COLUMN + 0.5) * (2 * PAVED / SIZE) - PAVED)
    gray = np.where(across < EDGE, _asphalt(rng, across), _slabs(rng, along, across))
    gray = np.where((across > EDGE - 0.12) & (across < EDGE + 0.12), 0.68 - 0.3 * (along % 1.0 < 0.06), gray)
    dashed = (across < 0.09) & (along % 8 < 3.5)
    parking = (np.abs(across - 3.6) < 0.07) & (along % 2 < 1.2)
    worn = 0.82 + 0.07 * noise(rng, cycles=(8, 200), slope=0.6)
    gray = np.where(dashed | parking, worn, gray)
    return gray[..., None] * np.array((1.0, 0.99, 0.96), np.float32)


def _asphalt(rng: np.random.Generator, across: Floats) -> Floats:
    gray = 0.42 + 0.06 * noise(rng, cycles=(2, 40)) + 0.05 * noise(rng, cycles=(20, 200), slope=0.3)
    tracks = sum(np.exp(-(((across - lane) / 0.3) ** 2)) for lane in (1.0, 2.5))
    cracks = np.exp(-((noise(rng, cycles=(3, 60), slope=1.2) / 0.035) ** 2)) * (noise(rng, cycles=(1, 6)) > 0.2)
    repairs = noise(rng, cycles=(1, 8)) > 1.3
    return np.asarray(gray - 0.05 * tracks - 0.16 * cracks - 0.09 * repairs, np.float32)


def _slabs(rng: np.random.Generator, along: Floats, across: Floats) -> Floats:
    """Lay slabs of 0.8 m, each of its own gray."""
    row, column = (along / 0.8).astype(int), ((across - EDGE) / 0.8).astype(int) + 8 * (_COLUMN > SIZE / 2)
    own = rng.normal(0.58, 0.06, (32, 32)).astype(np.float32)[row % 32, column % 32]
    joints = (along % 0.8 < 0.05) | ((across - EDGE) % 0.8 < 0.05)
    return np.asarray(own + 0.05 * noise(rng, cycles=(4, 200), slope=0.5) - 0.2 * joints, np.float32)


def _grass(rng: np.random.Generator) -> Floats:
    tone = noise(rng, cycles=(1, 30)) * 0.07 + noise(rng, cycles=(20, 200), slope=0.4) * 0.09
    dry = np.clip(noise(rng, cycles=(1, 12)), 0, 1)[..., None]
    return _colored(tone, (0.27, 0.4, 0.17)) * (1 - dry) + _colored(tone, (0.5, 0.46, 0.28)) * dry


def _bricks(rng: np.random.Generator) -> Floats:
    """Lay bricks of 0.4 m by 0.2 m with windows between them; the tile is 12.8 m wide."""
    row = (_ROW // 8).astype(int)
    shifted = _COLUMN + 8 * (row % 2)
    column = (shifted // 16).astype(int) % 32
    own = rng.normal(0, 0.07, (64, 32)).astype(np.float32)[row, column]
    mortar = (_ROW % 8 < 1.5) | (shifted % 16 < 1.5)
    wall = _colored(own + 0.06 * noise(rng, cycles=(1, 60)), (0.62, 0.42, 0.34))
    return _windows(rng, np.where(mortar[..., None], wall * 0.4 + 0.4, wall))


def _plaster(rng: np.random.Generator) -> Floats:
    spots = noise(rng, cycles=(2, 60), slope=0.8)
    streaks = np.mean([np.roll(spots, 6 * k, axis=0) for k in range(8)], axis=0)
    tone = 0.08 * streaks + 0.06 * noise(rng, cycles=(1, 100), slope=0.8) + 0.03 * noise(rng, cycles=(40, 200), slope=0)
    damp = 0.12 * np.clip(1 - _ROW / 40, 0, 1) + 0.1 * (_ROW % 128 < 4)
    return _windows(rng, _colored(tone - damp, (0.74, 0.71, 0.64)))


def _windows(rng: np.random.Generator, wall: Floats) -> Floats:
    """Cut a window, or on the ground floor sometimes a door, into each of 16 cells of 3.2 m."""
    for floor in range(4):
        for k in range(4):
            wide, high, sill = rng.integers(36, 68), rng.integers(48, 68), rng.integers(34, 42)
            door = floor == 0 and rng.uniform() < 0.5
            low = floor * 128 + (2 if door else sill)
            left = k * 128 + int(64 - wide / 2)
            _window(rng, wall[low : low + (84 if door else high), left : left + wide])
    return wall


def _window(rng: np.random.Generator, part: Floats) -> None:
    """Draw a frame, panes that mirror something, and a curtain or blind, in place."""
    height, width = part.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    slope, tone = rng.uniform(-0.4, 0.4), rng.uniform(0.6, 1.6)
    mirrored = 0.09 * np.sin((y + slope * x) / rng.uniform(4, 9) + rng.uniform(0, 6)) + 0.2 * y / height
    part[:] = _DARK_GLASS * tone + mirrored[..., None]
    if rng.uniform() < 0.6:
        closed = int(height * rng.uniform(0.3, 0.9))
        part[closed:] = rng.uniform(0.4, 0.8, 3) * (0.85 + 0.15 * np.sin(y[closed:] * 1.3))[..., None]
    bars = (x < 4) | (x >= width - 4) | (y < 4) | (y >= height - 4) | (np.abs(x - width / 2) < 2)
    part[bars] = rng.uniform(0.3, 0.95)


def _leaves(rng: np.random.Generator) -> Floats:
    tone = 0.1 * noise(rng, cycles=(2, 24), slope=0.5) + 0.09 * noise(rng, cycles=(20, 160), slope=0.3)
    return _colored(tone, (0.26, 0.4, 0.17))


def _roof(rng: np.random.Generator) -> Floats:
    rows = 0.08 * ((_ROW % 16) / 16 - 0.5) - 0.12 * ((_COLUMN + 8 * ((_ROW // 16) % 2)) % 16 < 2)
    return _colored(rows + 0.08 * noise(rng, cycles=(1, 100), slope=0.7), (0.52, 0.35, 0.3))


def _bark(rng: np.random.Generator) -> Floats:
    return _colored(0.1 * noise(rng, cycles=(2, 100), slope=0.5) + 0.06 * np.sin(_ROW / 12), (0.42, 0.38, 0.33))


def _body_side(rng: np.random.Generator) -> Floats:
    """Draw doors and wheels: 4.3 m by 0.75 m stretched to the tile, tinted by the car's color."""
    tile = _colored(_paintwork(rng) - 0.3 * _lines((150, 256, 375)), (0.85, 0.85, 0.85))
    tile[_ROW < 90] = _RUBBER + 0.05
    tile[np.abs(_ROW - 300) < 10] *= 0.75
    for middle in (100, 415):
        reach = np.hypot((_COLUMN - middle) / 40, (_ROW - 190) / 205)
        tile[reach < 1] = _RUBBER
        tile[reach < 0.55] = 0.5
        tile[reach < 0.2] = 0.2
    return tile


def _body_end(rng: np.random.Generator) -> Floats:
    """Draw lights, number plate and bumper: 1.8 m by 0.75 m."""
    tile = _colored(_paintwork(rng) - 0.12 * (_ROW < 200), (0.85, 0.85, 0.85))
    tile[_ROW < 90] = _RUBBER
    tile[(_ROW < 130) & (np.abs(_COLUMN - 256) > 175)] = _RUBBER
    side = np.abs(_COLUMN - 256)
    tile[(side > 180) & (side < 245) & (np.abs(_ROW - 370) < 60)] = (0.95, 0.3, 0.22)
    tile[(side < 75) & (np.abs(_ROW - 265) < 42)] = 0.95
    tile[(side < 60) & (np.abs(_ROW - 265) < 18) & (_COLUMN % 20 < 11)] = 0.15
    tile[np.abs(_ROW - 175) < 8] *= 0.6
    return tile


def _cabin(rng: np.random.Generator, *, posts: tuple[int, ...], width: int, top: int) -> Floats:
    """Draw glass that shines between posts, below a roof."""
    shine = 0.22 * _ROW / SIZE + 0.1 * noise(rng, cycles=(1, 12)) + 0.12 * ((_COLUMN + _ROW) % 256 < 40)
    tile = np.asarray(_DARK_GLASS + shine[..., None], np.float32)
    tile[(_lines(posts, width) > 0) | (_ROW > top) | (_ROW < 40)] = 0.8
    return tile


def _lines(columns: tuple[int, ...], width: int = 4) -> Floats:
    return np.asarray(sum((np.abs(_COLUMN - k) < width).astype(np.float32) for k in columns))


def _paintwork(rng: np.random.Generator) -> Floats:
    """Draw what shines and sticks on a car: the sky above, dirt below."""
    dirt = np.clip(1 - _ROW / 300, 0, 1) * 0.12
    shine = 0.06 * noise(rng, cycles=(1, 16)) + 0.03 * noise(rng, cycles=(10, 90), slope=0.5)
    return np.asarray(shine - dirt, np.float32)


def _stains(rng: np.random.Generator) -> Floats:
    """Draw what is laid over large grounds to break the repetition, 0.5 where it changes nothing."""
    return _colored(0.07 * noise(rng, cycles=(1, 60), slope=0.8), (0.5, 0.5, 0.5))


def _clouds(rng: np.random.Generator) -> Floats:
    cover = np.clip(0.3 + 0.35 * noise(rng, cycles=(1, 24), slope=1.3), 0, 1)[..., None]
    return np.asarray((1 - cover) * np.array((0.55, 0.69, 0.86)) + cover * np.array((0.9, 0.91, 0.93)), np.float32)


def _colored(tone: Floats, color: tuple[float, float, float]) -> Floats:
    """Give a color the lightness of a tone around 0."""
    return np.asarray(np.array(color, np.float32) * (1 + 1.6 * tone[..., None]), np.float32)


# How each is drawn and how many metres a tile covers; 1 where it is stretched over the face of a box.
_PAINTS: dict[str, tuple[Callable[[np.random.Generator], Floats], float]] = {
    "street": (_street, 2 * PAVED),
    "grass": (_grass, 8.0),
    "bricks": (_bricks, 12.8),
    "plaster": (_plaster, 12.8),
    "leaves": (_leaves, 4.0),
    "roof": (_roof, 8.0),
    "bark": (_bark, 2.0),
    "body side": (_body_side, 1.0),
    "body end": (_body_end, 1.0),
    "cabin side": (partial(_cabin, posts=(16, 250, 496), width=12, top=450), 1.0),
    "cabin end": (partial(_cabin, posts=(10, 502), width=18, top=440), 1.0),
    "stains": (_stains, 46.0),
    "clouds": (_clouds, 1.0),
}
MATERIALS = {name: index for index, name in enumerate(_PAINTS)}
METERS: NDArray[np.float32] = np.array([size for _, size in _PAINTS.values()], np.float32)
