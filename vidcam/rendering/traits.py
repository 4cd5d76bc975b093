"""What a viewer must be told of a target: its sign, its unit, and where nothing is known of it."""

import numpy as np

from vidcam.explaining.explanation import LOSS, Explanation

VANISHES = "gradient vanishes"


def directions(explanation: Explanation) -> tuple[str, str]:
    """Say what cells with heat above and below zero do to the target.

    The map of a loss is that of minus the loss: what lies above zero keeps the loss low.
    """
    return ("lowers", "raises") if explanation.target_name == LOSS else ("raises", "lowers")


def with_unit(explanation: Explanation, text: str) -> str:
    """Return a number and the unit of the target behind it."""
    return f"{text} {explanation.unit}".rstrip()


def vanishing_spans(explanation: Explanation) -> list[tuple[float, float]]:
    """Return start and end in seconds of every run of frames at which the gradient vanishes."""
    edges = np.flatnonzero(np.diff(explanation.is_vanishing.astype(int), prepend=0, append=0))
    end = float(explanation.seconds[0]) + explanation.duration_seconds
    seconds = np.append(explanation.seconds, end)[edges]
    return [(float(first), float(last)) for first, last in seconds.reshape(-1, 2)]
