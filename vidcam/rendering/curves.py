"""What is plotted over time: frame importance and the network's outputs, per window or per frame."""

import numpy as np

from vidcam.errors import VidcamError
from vidcam.explaining.explanation import Explanation, RegressionExplanation
from vidcam.types import Floats


def share(values: Floats) -> Floats:
    """Return values, none below zero, as shares of the highest one, 0 to 1; zero if nothing is above zero."""
    peak = values.max()
    return values / peak if peak > 0 else np.zeros_like(values)


def importance(explanation: Explanation) -> Floats:
    """Return each frame's score as a share of the highest one, (F,) in 0 to 1; zero for a flat explanation."""
    return share(explanation.frame_scores)


def outputs(explanation: Explanation) -> Floats:
    """Return all that the network said: (N, K) per window, or (F, K) per frame for a regression."""
    return explanation.outputs if isinstance(explanation, RegressionExplanation) else explanation.probabilities


def output(explanation: Explanation, component: int) -> tuple[Floats, Floats]:
    """Return the curve, seconds and values, of one class or output component.

    A regression has a value at every frame. Else the curve is linear between the windows' middles and constant before
    the first and after the last.
    """
    if isinstance(explanation, RegressionExplanation):
        return explanation.seconds, explanation.outputs[:, component]
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


def kind(explanation: Explanation) -> str:
    """Say what the outputs are: `probability`, `output`, or `value` for a regression."""
    if isinstance(explanation, RegressionExplanation):
        return "value"
    return "probability" if are_probabilities(explanation) else "output"


def mean(explanation: Explanation) -> float:
    """Return the target's mean output, over the windows or, for a regression, over the frames."""
    return float(outputs(explanation)[:, explanation.target].mean())


def are_probabilities(explanation: Explanation) -> bool:
    """Whether the outputs can be read as probabilities; those of networks that are no classifiers leave 0 to 1."""
    if isinstance(explanation, RegressionExplanation):
        return False
    said = explanation.probabilities
    return bool((said >= -1e-6).all() and (said <= 1 + 1e-6).all())


def limits(explanation: Explanation, components: list[int]) -> tuple[float, float]:
    """Return the range of the axis for some outputs: 0 to 1 for probabilities, else what they span.

    Raises:
        VidcamError: outputs that are not finite.
    """
    if are_probabilities(explanation):
        return 0.0, 1.0
    values = outputs(explanation)[:, components]
    if not np.isfinite(values).all():
        where = "at some frames" if isinstance(explanation, RegressionExplanation) else "in some windows"
        raise VidcamError(f"the network's outputs are NaN or infinite {where}; they cannot be drawn")
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
