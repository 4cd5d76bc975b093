"""What a viewer is told of a target: curves over time, and in words its sign, its unit, and where nothing is known."""

import numpy as np

from vidcam.errors import VidcamError
from vidcam.explaining.explanation import LOSS, Explanation
from vidcam.rendering.drawing import number
from vidcam.types import Floats

VANISHES = "gradient vanishes"


def share(values: Floats) -> Floats:
    """Return values, none below zero, as shares of the highest one, 0 to 1; zero if nothing is above zero."""
    peak = values.max()
    return values / peak if peak > 0 else np.zeros_like(values)


def importance(explanation: Explanation) -> Floats:
    """Return each frame's score as a share of the highest one, (F,) in 0 to 1; zero for a flat explanation."""
    return share(explanation.frame_scores)


def output(explanation: Explanation, column: int | None = None) -> tuple[Floats, Floats]:
    """Return the curve, seconds and values, of a class, by default of the target, whatever it is.

    A score that is no class has a value at every frame, and so has a class where the network answers at each time step.
    Else that of a class is linear between the windows' middles and constant before the first and after the last; of
    windows with the same middle it is their mean.
    """
    if column is None:
        if not explanation.is_class:
            return explanation.seconds, explanation.values
        column = explanation.target
    each = explanation.extras.get("answers", np.empty(0))
    if each.shape == (len(explanation.seconds), explanation.classes) and are_probabilities(explanation):
        return explanation.seconds, each[:, column]
    middles, place, counts = np.unique(explanation.windows.mean(axis=1), return_inverse=True, return_counts=True)
    values = np.bincount(place, explanation.probabilities[:, column]) / counts
    start, end = span(explanation)
    seconds = np.concatenate([[start], middles, [end]])
    return seconds.clip(start, end), np.concatenate([values[:1], values, values[-1:]])


def span(explanation: Explanation) -> tuple[float, float]:
    """Return the start of the first frame and the end of the last one in seconds."""
    start = float(explanation.seconds[0])
    return start, start + explanation.duration_seconds


def kind(explanation: Explanation) -> str:
    """Say what the target's outputs are: `probability`, `output` of a class that has none, or `value` of a score."""
    if not explanation.is_class:
        return "value"
    return "probability" if are_probabilities(explanation) else "output"


def mean(explanation: Explanation) -> float:
    """Return the target's mean output, over the windows or, if it is no class, over the frames."""
    return explanation.probability if explanation.is_class else float(explanation.values.mean())


def are_probabilities(explanation: Explanation) -> bool:
    """Whether what the windows say of the classes can be read as probabilities; some networks' leave 0 to 1."""
    said = explanation.probabilities[:, : explanation.classes]
    return explanation.is_class and bool((said >= -1e-6).all() and (said <= 1 + 1e-6).all())


def limits(explanation: Explanation, classes: list[int] | None = None) -> tuple[float, float]:
    """Return the range of the axis for some classes, or for the target: 0 to 1 for probabilities, else what they span.

    Raises:
        VidcamError: outputs that are not finite.
    """
    if are_probabilities(explanation):
        return 0.0, 1.0
    of_frames = not explanation.is_class
    values = explanation.values if of_frames else explanation.probabilities[:, classes or [explanation.target]]
    if not np.isfinite(values).all():
        where = "at some frames" if of_frames else "in some windows"
        raise VidcamError(f"the network's outputs are NaN or infinite {where}; they cannot be drawn")
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def runners_up(explanation: Explanation, n: int) -> list[int]:
    """Return the `n` other classes with the highest mean probability, the highest first."""
    means = explanation.probabilities[:, : explanation.classes].mean(axis=0)
    return [int(k) for k in np.argsort(-means, kind="stable") if k != explanation.target][:n]


def directions(explanation: Explanation) -> tuple[str, str]:
    """Say what cells with heat above and below zero do to the target.

    The map of a loss is that of minus the loss: what lies above zero keeps the loss low.
    """
    return ("lowers", "raises") if explanation.target_name == LOSS else ("raises", "lowers")


def in_words(explanation: Explanation) -> str:
    """Return the target's mean output with what it is, and in its unit: `mean probability 0.42`."""
    return with_unit(explanation, f"mean {kind(explanation)} {number(mean(explanation))}")


def with_unit(explanation: Explanation, text: str) -> str:
    """Return a number and the unit of the target behind it."""
    return f"{text} {explanation.unit}".rstrip()


def vanishing_spans(explanation: Explanation) -> list[tuple[float, float]]:
    """Return start and end in seconds of every run of frames at which the gradient vanishes."""
    edges = np.flatnonzero(np.diff(explanation.is_vanishing.astype(int), prepend=0, append=0))
    seconds = np.append(explanation.seconds, span(explanation)[1])[edges]
    return [(float(first), float(last)) for first, last in seconds.reshape(-1, 2)]


def gaps(explanation: Explanation) -> list[str]:
    """Say at how many frames the gradient vanishes, if it does."""
    vanishing = explanation.is_vanishing
    return [f"{VANISHES} at {vanishing.sum()} of {vanishing.size} frames"] if vanishing.any() else []
