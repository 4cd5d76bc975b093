"""Intervals of what was measured frame by frame, by drawing frames anew."""

import numpy as np

from vidcam.errors import OptionError
from vidcam.types import Floats, Ints

ENDS = (0.025, 0.975)
"""Nineteen of twenty draws lie between these quantiles."""


def draw(n: int, *, resamples: int, seed: int, block: int = 1) -> Ints:
    """Draw n of n frames with replacement, `resamples` times: (resamples, n) indices.

    Args:
        n: number of frames, in the order of time.
        resamples: how often they are drawn.
        seed: of the draws.
        block: neighboring frames that are drawn together, the first following the last (circular blocks, Politis and
            Romano 1992): frames of a video resemble their neighbors, and drawn one by one their intervals are too
            narrow.

    Raises:
        OptionError: no frames, no resamples or a block below 1.
    """
    if n < 1 or resamples < 1 or block < 1:
        raise OptionError(f"n, resamples and block must be at least 1; given {n}, {resamples} and {block}")
    block = min(block, n)
    starts = np.random.default_rng(seed).integers(n, size=(resamples, -(-n // block)))
    return (starts[:, :, None] + np.arange(block)).reshape(resamples, -1)[:, :n] % n


def mean_with_interval(values: Floats, drawn: Ints) -> Floats:
    """(n, ...) -> (3, ...): mean over the frames, and the low and the high end of its 95 % interval."""
    means = np.stack([values[indices].mean(axis=0) for indices in drawn])
    return np.stack([values.mean(axis=0), *np.quantile(means, ENDS, axis=0)])
