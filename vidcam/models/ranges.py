"""Ranges of the options that networks are built with, whether given or read from a checkpoint."""

import math
from collections.abc import Mapping
from typing import Any

from vidcam.errors import OptionError
from vidcam.options import Declared


def _whole(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"


RANGES = {
    "classes": Declared(help="Rows of the head.", least=1, most=2**20, check=_whole),
    "frames": Declared(help="Of one forward pass.", least=1, most=2**14, check=_whole),
    "frame_rate": Declared(help="Frames per second.", least=1e-4, most=1000),
    "seed": Declared(help="What random weights start from.", least=0, most=2**63 - 1, check=_whole),
}
"""Options that mean the same for all networks."""
NEEDED = ("frames", "seed")
"""Those that no network decides itself."""
MOST = 2**14
"""The largest whole number of any other option: sizes of states, numbers of layers."""


def check_ranges(options: Mapping[str, Any]) -> None:
    """Raise an OptionError for a number that no network can be built with; None is what was not chosen."""
    for name, value in options.items():
        if value is None and name in NEEDED:
            raise OptionError(f"{name} must be a number; given None")
        if name in RANGES:
            RANGES[name].refuse(name, value)
        elif isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= MOST):
            raise OptionError(f"{name} must be a number of at most {MOST}; given {value}")
