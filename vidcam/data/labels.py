"""Classes by name: data sets and networks spell and order the same classes differently."""

import re
from collections.abc import Iterable, Sequence

from vidcam.errors import OptionError, unknown


def weight_labels(weights: str) -> tuple[str, ...]:
    """Return the classes of torchvision's weights, as "R3D_18_Weights.KINETICS400_V1", or raise an OptionError."""
    from torchvision.models import get_weight

    try:
        return tuple(get_weight(weights).meta["categories"])
    except (ValueError, KeyError, AttributeError):
        raise OptionError(f"torchvision has no weights {weights!r} with named classes") from None


def match_labels(given: Iterable[str], labels: Sequence[str]) -> dict[str, str]:
    """Map class names, or names of folders made from them, to the labels that mean the same.

    Only letters and digits count: "skiing_(not_slalom)", "skiing not slalom" and "Skiing (not slalom)" are one.

    Raises:
        OptionError: a name without a label, or one that fits two.
    """
    known: dict[str, list[str]] = {}
    for label in labels:
        known.setdefault(_key(label), []).append(label)
    matched: dict[str, str] = {}
    for name in given:
        fits = known.get(_key(name), [])
        if len(fits) != 1 and name not in fits:
            why = f"{name!r} may be {' or '.join(map(repr, fits))}" if fits else unknown("label", name, labels)
            raise OptionError(why)
        matched[name] = name if name in fits else fits[0]
    return matched


def _key(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
