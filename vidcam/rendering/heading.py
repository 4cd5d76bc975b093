"""What stands on top of a picture: the target, its probability, and where it all comes from."""

from pathlib import Path

from matplotlib.figure import Figure

from vidcam.explaining.explanation import Explanation
from vidcam.rendering.curves import kind, mean
from vidcam.rendering.drawing import DAY, number, shorten, text_width, write
from vidcam.rendering.traits import VANISHES, with_unit

MARGIN, HEIGHT = 16, 56  # points


def write_heading(figure: Figure, explanation: Explanation, width: float, *, how: str = "") -> None:
    """Name the target with its probability, and below, smaller, what was explained and how."""
    ending = " · ".join(
        [with_unit(explanation, f"mean {kind(explanation)} {number(mean(explanation))}"), *_gaps(explanation)]
    )
    room = width - 2 * MARGIN
    name = shorten(explanation.target_name, room - text_width(ending, 12) - 10, size=18, weight="bold")
    write(figure, MARGIN, MARGIN, name, size=18, weight="bold", color=DAY["ink"])
    beside = MARGIN + text_width(name, 18, weight="bold") + 10
    write(figure, beside, MARGIN + 5, ending, size=12, color=DAY["faint"])
    write(figure, MARGIN, MARGIN + 29, shorten(_origin(explanation, how), room, size=10), size=10, color=DAY["faint"])


def _gaps(explanation: Explanation) -> list[str]:
    """Say at how many frames the gradient vanishes, if it does."""
    gaps = explanation.is_vanishing
    return [f"{VANISHES} at {gaps.sum()} of {gaps.size} frames"] if gaps.any() else []


def _origin(explanation: Explanation, how: str) -> str:
    """Say what was explained, by which network and how, as far as it is known."""
    facts = explanation.provenance
    source = Path(str(facts["source"])).name if facts.get("source") else None
    parts = [source, *(facts.get(key) for key in ("model", "layer", "method")), how]
    return " · ".join(part for part in parts if isinstance(part, str) and part)
