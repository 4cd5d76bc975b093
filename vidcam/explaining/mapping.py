"""Blending overlapping windows, and filling in the frames between their samples."""

from collections.abc import Mapping

import numpy as np

from vidcam.types import Floats


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
