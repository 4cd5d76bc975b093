"""What a regression has and a classification lacks, asked of any explanation."""

import numpy as np
import numpy.typing as npt

from vidcam.explaining.explanation import Explanation, RegressionExplanation
from vidcam.types import Floats

LOSS = "loss"
VANISHES = "gradient vanishes"


def is_signed(explanation: Explanation) -> bool:
    """Whether heat below zero means something: a cell that lowers the target."""
    return isinstance(explanation, RegressionExplanation) and explanation.signed


def directions(explanation: Explanation) -> tuple[str, str]:
    """Say what cells with heat above and below zero do to the target.

    The map of a loss is that of minus the loss: what lies above zero keeps the loss low.
    """
    return ("lowers", "raises") if explanation.target_name == LOSS else ("raises", "lowers")


def unit(explanation: Explanation) -> str:
    """Return the unit of the target, or nothing where it has none."""
    units = explanation.units if isinstance(explanation, RegressionExplanation) else ()
    return units[explanation.target] if explanation.target < len(units) else ""


def with_unit(explanation: Explanation, text: str) -> str:
    """Return a number and the unit of the target behind it."""
    return f"{text} {unit(explanation)}".rstrip()


def vanishing(explanation: Explanation) -> npt.NDArray[np.bool_]:
    """(F,) the frames at which the target's gradient vanishes, so that nothing is known of where."""
    if isinstance(explanation, RegressionExplanation):
        return explanation.is_vanishing
    return np.zeros(len(explanation.heat), bool)


def vanishing_spans(explanation: Explanation) -> list[tuple[float, float]]:
    """Return start and end in seconds of every run of frames at which the gradient vanishes."""
    edges = np.flatnonzero(np.diff(vanishing(explanation).astype(int), prepend=0, append=0))
    end = float(explanation.seconds[0]) + explanation.duration_seconds
    seconds = np.append(explanation.seconds, end)[edges]
    return [(float(first), float(last)) for first, last in seconds.reshape(-1, 2)]


def gradient(explanation: Explanation) -> Floats | None:
    """(F,) the size of the target's gradient; None for a classification."""
    return explanation.gradients[explanation.target] if isinstance(explanation, RegressionExplanation) else None


def loss(explanation: Explanation) -> Floats | None:
    """(F,) the loss where there is one beside the target."""
    if not isinstance(explanation, RegressionExplanation) or LOSS not in explanation.labels:
        return None
    beside: Floats = explanation.outputs[:, explanation.labels.index(LOSS)]
    return None if explanation.target_name == LOSS else beside
