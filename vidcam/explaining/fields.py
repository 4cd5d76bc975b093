"""The fields of an explanation, checked: what comes from a file is drawn only if it can be true."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any, get_args

import numpy as np

from vidcam.attribution.geometry import Mode
from vidcam.errors import MediaError
from vidcam.types import Floats

Fields = Mapping[str, Any]
AXES = {
    "maps": "SFhw",
    "probabilities": "NK",
    "outputs": "FS",
    "seconds": "F",
    "rows": "h",
    "columns": "w",
    "windows": "N2",
    "gradients": "SF",
    "vanishing": "SF",
}
"""The axes of each array, by the letters of `Explanation`."""
EXTRAS = {"attention": (), "poses": (4, 4), "true_poses": (4, 4)}
"""What is known of the shapes of extras, behind the frames; all of these are finite."""
OPTIONAL = {"seen": "F"}
KINDS = {"maps": "f", "vanishing": "b", "seen": "b"}
"""Of numpy's kinds of numbers, those that an array may have, where not any real one."""
UNKNOWN = ("gradients",)
"""Arrays that are NaN where a number is not known."""
FLAT = 1e-6
"""The determinant of a pose is 1."""
LARGEST, FASTEST = 2**16, 10**6
"""Pixels of a side, and frames per second."""


def check_fields(values: Fields) -> None:
    """Raise a MediaError that says what is wrong with the fields of an explanation, as a clause."""
    for problem in chain(_problems_of_arrays(values), _problems_of_facts(values), _problems_of_order(values)):
        raise MediaError(problem)


def _problems_of_arrays(values: Fields) -> Iterator[str]:
    """Yield what is wrong with the arrays' kinds, shapes and numbers."""
    sizes = {"2": 2}
    for name, axes in (AXES | {name: axes for name, axes in OPTIONAL.items() if values.get(name) is not None}).items():
        array, kinds = values[name], KINDS.get(name, "fiu")
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            yield f"its {name} are no {'booleans' if kinds == 'b' else 'real numbers'}"
        elif array.ndim != len(axes) or not array.size:
            yield f"its {name} have shape {array.shape}"
        elif [sizes.setdefault(axis, size) for axis, size in zip(axes, array.shape, strict=True)] != [*array.shape]:
            yield f"its {name} have shape {array.shape}, which does not fit the others"
        elif not np.isfinite(array[~np.isnan(array)] if name in UNKNOWN else array).all():
            yield f"its {name} are not finite"
    for name, extra in values.get("extras", {}).items():
        yield from _problems_of_extra(name, extra, sizes["F"])


def _problems_of_extra(name: str, extra: Floats, frames: int) -> Iterator[str]:
    if not isinstance(extra, np.ndarray) or extra.dtype.kind not in "fiub":
        yield f"its {name} is no real number"
    elif not extra.ndim or len(extra) != frames or extra.shape[1:] != EXTRAS.get(name, extra.shape[1:]):
        yield f"its {name} has shape {extra.shape}"
    elif name == "depth" and (extra.ndim != 3 or not extra.size):
        yield f"its depth has shape {extra.shape}"
    elif name in EXTRAS and not np.isfinite(extra).all():
        yield f"its {name} is not finite"
    elif extra.shape[1:] == (4, 4) and name in EXTRAS and (np.abs(np.linalg.det(extra)) < FLAT).any():
        yield f"its {name} turn space into a plane"


def _problems_of_facts(values: Fields) -> Iterator[str]:
    """Yield what is wrong with all else."""
    columns, maps = values["probabilities"].shape[1], len(values["maps"])
    explained, provenance = values["explained"], values.get("provenance", {})
    if (
        not all(_is_whole(column, 0, columns - 1) for column in explained)
        or not len(explained) == len({*explained}) == maps
    ):
        yield f"it explains the columns {explained} of {columns}"
    if values["target"] not in explained or not _is_whole(values["target"], 0, columns - 1):
        yield f"its target {values['target']!r} is not among the explained columns"
    if not _is_whole(values.get("classes", 0), 0, columns):
        yield f"it has {values['classes']!r} classes in {columns} columns"
    for name in ("labels", "units", "notes"):
        texts = values.get(name, ())
        if not all(isinstance(text, str) for text in texts) or (name != "notes" and len(texts) > columns):
            yield f"its {name} do not fit"
    if not isinstance(values.get("signed", False), bool):
        yield f"signed is {values['signed']!r}"
    if values["spread"] not in get_args(Mode):
        yield f"its spread is {values['spread']!r}"
    if not isinstance(provenance, dict) or not all(
        isinstance(provenance.get(name, kind()), kind | None)
        for name, kind in (("source", str), ("method", str), ("geometry", dict))
    ):
        yield "its provenance is damaged"


def _problems_of_order(values: Fields) -> Iterator[str]:
    """Yield what is wrong with times, places and sizes."""
    if (np.diff(values["seconds"]) < 0).any():
        yield "its seconds run backwards"
    if (np.diff(values["windows"], axis=1) < 0).any():
        yield "a window of it ends before it starts"
    if not all((np.diff(values[name]) > 0).all() for name in ("rows", "columns")):
        yield "its rows or columns do not increase"
    if not all(_is_whole(values[side], 1, LARGEST) for side in ("width", "height")):
        yield f"its size is {values['width']!r} x {values['height']!r}"
    rate = values["rate"]
    if not isinstance(rate, Fraction) or not 0 < rate <= FASTEST or 1 / rate > FASTEST:
        yield f"its rate is {rate} frames per second"
    left, top, right, bottom = values["region"]
    if not (np.isfinite([left, top, right, bottom]).all() and left < right and top < bottom):
        yield f"its region is {(left, top, right, bottom)}"


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
