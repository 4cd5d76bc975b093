"""What is plotted over time: frame importance and the network's outputs per window."""

import numpy as np

from vidcam.errors import VidcamError
from vidcam.explanation import Explanation, Floats


def importance(explanation: Explanation) -> Floats:
    """Return each frame's score as a share of the highest one, (F,) in 0 to 1; zero for a flat explanation."""
    scores = explanation.frame_scores
    peak = scores.max()
    return scores / peak if peak > 0 else np.zeros_like(scores)


def output(explanation: Explanation, component: int) -> tuple[Floats, Floats]:
    """Return the curve, seconds and values, of one class or output component.

    It is linear between the windows' middles and constant before the first and after the last.
    """
    middles = explanation.windows.mean(axis=1)
    order = np.argsort(middles, kind="stable")
    values = explanation.probabilities[order, component]
    start, end = span(explanation)
    seconds = np.concatenate([[start], middles[order], [end]])
    return seconds.clip(start, end), np.concatenate([values[:1], values, values[-1:]])


def span(explanation: Explanation) -> tuple[float, float]:
    """Return the start of the first frame and the end of the last one in seconds."""
    start = float(explanation.seconds[0])
    return start, start + explanation.duration_seconds


def are_probabilities(explanation: Explanation) -> bool:
    """Whether the outputs can be read as probabilities; those of networks that are no classifiers leave 0 to 1."""
    outputs = explanation.probabilities
    return bool((outputs >= -1e-6).all() and (outputs <= 1 + 1e-6).all())


def limits(explanation: Explanation, components: list[int]) -> tuple[float, float]:
    """Return the range of the axis for some outputs: 0 to 1 for probabilities, else what they span.

    Raises:
        VidcamError: outputs that are not finite.
    """
    if are_probabilities(explanation):
        return 0.0, 1.0
    values = explanation.probabilities[:, components]
    if not np.isfinite(values).all():
        raise VidcamError("the network's outputs are NaN or infinite in some windows; they cannot be drawn")
    low, high = float(values.min()), float(values.max())
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def runners_up(explanation: Explanation, n: int) -> list[int]:
    """Return the `n` other classes with the highest mean probability, the highest first."""
    order = np.argsort(-explanation.probabilities.mean(axis=0), kind="stable")
    return [int(k) for k in order if k != explanation.target][:n]


def name(explanation: Explanation, component: int) -> str:
    """Return a class by its name, or by its index where it has none."""
    return explanation.labels[component] if component < len(explanation.labels) else str(component)
