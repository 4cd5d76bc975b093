"""The options of a look: how heat is colored, how the picture is laid out, and whether it sounds."""

from dataclasses import dataclass
from typing import ClassVar

from vidcam.explaining.choices import SCALES
from vidcam.options import Options, option


def _share(opacity: float) -> str | None:
    return None if 0 <= opacity <= 1 else "is from 0 to 1"  # NaN is not


@dataclass(frozen=True)
class Color(Options):
    """How heat is colored."""

    panel: ClassVar[str] = "Look"

    colormap: str | None = option("Any of matplotlib's; default: turbo, signed: bwr.", None)
    opacity: float = option(
        "Of the hottest cell, 0 to 1.",
        0.6,
        more="Colder ones have less, and where there is no heat, pixels stay untouched.",
        check=_share,
    )
    scale: str = option(
        "One scale for all frames, or each its own.",
        "video",
        more="The latter hides which frames matter.",
        choices=SCALES,
    )


@dataclass(frozen=True)
class Look(Color):
    """How a video of heat is drawn."""

    layout: str = option(
        "Alone, or beside the source.",
        "overlay",
        more="The latter doubles the width: the source at the left, the overlay at the right.",
        choices=("overlay", "side_by_side"),
    )
    bar: bool = option(
        "A strip with probability and importance over time.",
        False,
        more="It lies below; of a regressor it shows the score's value, the loss and the gradient's size.",
    )
    colorbar: bool = option(
        "A strip with the color scale.", False, more="At the right, with the raw heat that the colors stand for."
    )


@dataclass(frozen=True)
class Audio(Options):
    """Whether a video sounds."""

    panel: ClassVar[str] = Color.panel

    audio: bool = option("Carry the source's sound over.", True)


PLAIN = Look()
"""What nobody has chosen otherwise."""
