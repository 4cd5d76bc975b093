"""Ranges of the options that networks are built with, whether given or read from a checkpoint."""

import math
from collections.abc import Mapping
from typing import Any

from vidcam.data.sampling import SAMPLINGS
from vidcam.errors import OptionError
from vidcam.options import Declared


def _whole(value: Any) -> str | None:
    return None if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"


def _number(value: Any) -> str | None:
    return "must be a number" if isinstance(value, bool) else None


def _sampling(value: Any) -> str | None:
    return None if value in SAMPLINGS else f"must be {' or '.join(SAMPLINGS)}"


RANGES = {
    "classes": Declared(help="Rows of the head.", least=1, most=2**20, check=_whole),
    "frames": Declared(help="Of one forward pass.", least=1, most=2**14, check=_whole),
    "frame_rate": Declared(help="Frames per second.", least=1e-4, most=1000, check=_number),
    "sampling": Declared(help="How the network looks at time.", check=_sampling),
    "clips": Declared(help="Of a network that is shown frames of the whole video.", least=1, most=2**10, check=_whole),
    "seed": Declared(help="What random weights start from.", least=0, most=2**63 - 1, check=_whole),
}
"""Options that mean the same for all networks."""
SAMPLING = {"sampling": "windows", "clips": 1}
"""Options that say at which frames of a video a network looks, as they are where nothing is said."""
NEEDED = ("frames", *SAMPLING, "seed")
"""Those that no network decides itself."""
MOST = 2**14
"""The largest whole number of any other option: sizes of states, numbers of layers."""


KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
"""What an option must be whose default is of some type."""


def check_ranges(options: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Raise an OptionError for a value that no network can be built with; None is what was not chosen.

    Those of other names than `RANGES` are of the same kind as their defaults.
    """
    for name, value in options.items():
        if value is None and name in NEEDED:
            raise OptionError(f"the network's {name} must be a number; given None")
        if name in RANGES:
            RANGES[name].refuse(f"the network's {name}", value)
            continue
        kind = type((defaults or {}).get(name))
        if value is not None and kind in KINDS and not _is(value, kind):
            raise OptionError(f"the network's {name} must be {KINDS[kind]}; given {value}")
        if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= MOST):
            raise OptionError(f"the network's {name} must be a number of at most {MOST}; given {value}")


def _is(value: Any, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is type(value)
    return isinstance(value, int | float if kind is float else kind)
