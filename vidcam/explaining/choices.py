"""The options of an explanation: by which method, where, when, and how the windows go through the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from vidcam.data.reading import Reading
from vidcam.options import Options, option

AUTO = "auto"
SCALES = ("video", "frame")
"""One scale of heat for all frames, or each its own."""


def _two(names: tuple[str, ...]) -> str | None:
    return None if len(names) == 2 else "needs two names, for time and for space, as linear,linear"


@dataclass(frozen=True)
class Choices(Reading):
    """How heat is computed, and how it is laid on the frames."""

    panel: ClassVar[str] = "Where and when"

    method: str = option("A name that `vidcam methods` lists.", "grad_cam", panel="What is explained")
    layer: str | None = option(
        "Where to look; see `vidcam models NAME`.", None, more="None takes the model's own; a module will do."
    )
    pooling: str = option("Channel weights per slot or clip.", "slot", choices=("slot", "clip"))
    when: str | None = option(
        "The layer that tells when.",
        AUTO,
        more='An earlier layer, or "input"; None explains by `layer` alone, at the price of inference; "auto" takes '
        "the model's own.",
        metavar="LAYER|input|none",
        cli=lambda text: None if text == "none" else text,
    )
    placement: tuple[str, str] = option(
        "How slots and cells are laid.",
        ("linear", "linear"),
        more="The layer's slots on time, its cells on space; see `vidcam.attribution.geometry`.",
        check=_two,
        metavar="TIME,SPACE",
        cli=lambda text: tuple(name.strip() for name in text.split(",")),
    )
    hop_seconds: float | None = option("Between windows; default: half one.", None, metavar="SECONDS", names=("--hop",))
    batch: int | None = option(
        "Windows per forward pass; default: by the device.",
        None,
        more="By default 1 on a CPU and 8 on a GPU; of networks of single frames, 16.",
        least=1,
        panel="Machine",
    )


RANKINGS = {
    "attention": "the network's own weights a_t, which have neither class nor sign",
    "contribution": "a_t (d score / d context) . h_t: what attention lets through for the class, signed",
    "heat": "mass of the frame's map",
    "leave_out": "drop in the score when the frame is replaced by its neighbor",
}
"""Every ranking's name and what it is."""


def _counts(numbers: Sequence[int]) -> str | None:
    return None if min(numbers, default=1) >= 1 else "must be at least 1"


@dataclass(frozen=True)
class Comparison(Options):
    """How frames are ranked, and what the ranking is compared with."""

    panel: ClassVar[str] = "Ranking"

    by: str = option("What ranks; the others are computed as well.", "heat", choices=tuple(RANKINGS))
    shown: Sequence[int] = option(
        "How many frames of each window to show when measuring the score that is kept.",
        (1, 2, 4, 8),
        more="Numbers that leave nothing out of a window are skipped.",
        check=_counts,
        cli=False,
    )
    draws: int = option("Random choices of frames to compare with.", 10, least=1)
    seed: int = option("Of the draws.", 0, least=0)
