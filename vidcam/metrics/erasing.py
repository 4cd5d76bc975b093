"""Erasing cells of a picture by the local mean color, and the orders in which cells are erased."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from vidcam.types import Floats

Mask = npt.NDArray[np.bool_]
"""(r, c) which cells are erased."""

PLASTIC = 1.32471795724474602596
"""The real root of x^3 = x + 1; its inverse powers spread points evenly over a square."""


def edges(length: int, cells: int) -> list[int]:
    """Return the cells + 1 edges of cells of equal size, to a pixel."""
    return [round(i * length / cells) for i in range(cells + 1)]


def erase(frames: Tensor, masks: Tensor) -> Tensor:
    """Replace cells by the mean color around them, (T, C, H, W) and (M, r, c) bool -> (M, T, C, H, W).

    An erased cell takes one color per frame: the mean over those pixels of its 3 x 3 cells that are not erased;
    where all nine are, of its 5 x 5 cells, and so on until something is left. At least one cell must be left.
    """
    rows, columns = (edges(frames.shape[-2 + i], masks.shape[1 + i]) for i in (0, 1))
    down, across = (torch.tensor(e, device=frames.device).diff() for e in (rows, columns))
    colors = _around(_sums(frames, rows, columns), torch.outer(down, across), masks.to(frames.device))
    spread = colors.repeat_interleave(down, dim=-2).repeat_interleave(across, dim=-1).to(frames.dtype)
    erased = masks.to(frames.device).repeat_interleave(down, dim=-2).repeat_interleave(across, dim=-1)
    return torch.where(erased[:, None, None], spread, frames)


def erased(clip: Sequence[Any], masks: Tensor) -> list[Any]:
    """Return a clip's T frames with the cells of each of M masks erased; of several inputs, in each of them alike.

    Args:
        clip: frames as `Model.prepare` returns them: (C, H, W), or such by name.
        masks: (M, r, c) bool.
    """
    if isinstance(clip[0], Tensor):
        return list(erase(torch.stack(list(clip)), masks))
    parts = {name: erase(torch.stack([frame[name] for frame in clip]), masks) for name in clip[0]}
    return [
        [{name: part[mask, frame] for name, part in parts.items()} for frame in range(len(clip))]
        for mask in range(len(masks))
    ]


def _sums(frames: Tensor, rows: list[int], columns: list[int]) -> Tensor:
    """Sum each cell's pixels, (T, C, H, W) -> (T, C, r, c), in double precision."""
    whole = pad(frames.double().cumsum(-2).cumsum(-1), (1, 0, 1, 0))
    return whole[..., rows, :].diff(dim=-2)[..., columns].diff(dim=-1)


def _around(sums: Tensor, pixels: Tensor, masks: Tensor) -> Tensor:
    """Mean color of what is not erased around each cell, (M, T, C, r, c); what is not erased is not used."""
    left = (~masks).double()[:, None]  # (M, 1, r, c)
    known = left * sums.flatten(0, 1)  # (M, T C, r, c)
    counts = left * pixels
    colors = torch.zeros_like(known)
    missing = masks[:, None].clone()
    for reach in range(1, max(masks.shape[1:])):
        total, count = (_box(part, reach) for part in (known, counts))
        filled = missing & (count > 0.5)
        colors = torch.where(filled, total / count.clamp(min=1), colors)
        missing &= ~filled
        if not missing.any():
            break
    return colors.reshape(len(masks), *sums.shape)


def _box(values: Tensor, reach: int) -> Tensor:
    """Sum over the (2 reach + 1)^2 cells around each, as far as there are any."""
    side = 2 * reach + 1
    return avg_pool2d(values, side, stride=1, padding=reach) * side**2


def most(values: Floats, counts: Sequence[int], generator: np.random.Generator) -> list[Mask]:
    """Mark the n cells with the highest values, (r, c), for each of some n; among equal ones the draw decides."""
    shuffled = generator.permutation(values.size)
    place = np.empty(values.size, int)
    place[shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]] = np.arange(values.size)
    return [(place < n).reshape(values.shape) for n in counts]


def neighbors(shape: tuple[int, int], n: int, generator: np.random.Generator) -> Mask:
    """Mark n neighboring cells at a random place: a square as nearly as they allow, with one row broken.

    A block may wrap around the border, as on a torus, so that every cell is equally often in one.
    """
    height = min(max(round(sqrt(n)), ceil(n / shape[1])), shape[0])
    width = ceil(n / height)
    height = ceil(n / width)
    part = (np.arange(height * width) < n).reshape(height, width)
    mask = np.zeros(shape, bool)
    mask[:height, :width] = part if generator.random() < 0.5 else part[::-1, ::-1]
    return np.roll(mask, generator.integers(shape), axis=(0, 1))


def evenness(shape: tuple[int, int], phase: float = 0.0) -> Floats:
    """Give values (r, c) whose highest n lie evenly spread, for every n: the R2 dither (Roberts 2018)."""
    y, x = np.indices(shape)
    return (y / PLASTIC + x / PLASTIC**2 + phase) % 1


def centrality(shape: tuple[int, int]) -> Floats:
    """Give values (r, c) that fall from the middle of the picture, in shares of its sides."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in shape)
    return -np.hypot(y[:, None], x)
