"""Slots: of what kind each of a model's is, so that a wrong one is said where it is given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import nn

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import OptionError

Check = tuple[Callable[[Any], bool], str]


def _by_name(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and all(map(of, value.values()))


def _or_none(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or of(value)


def _axes(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(axis, Axis) for axis in value)


KINDS: Mapping[str, Check] = {
    "net": (lambda value: isinstance(value, nn.Module), "a torch.nn.Module"),
    "layout": (_or_none(lambda value: isinstance(value, str)), 'an einops pattern, as "b c t h w"'),
    "frame_rate": (_or_none(lambda value: isinstance(value, Real)), "a number"),
    "preprocessing": (
        lambda value: isinstance(value, Preprocessing),
        "a vidcam.Preprocessing, or of a class made of it",
    ),
    "labels": (lambda value: isinstance(value, Iterable), "a list of names"),
    "axes": (_by_name(_axes), "tuples of vidcam.attribution.Axis by the names of layers"),
    "attention": (_or_none(callable), "a function of the network's output"),
    "scores": (_by_name(callable), "functions by name, output -> (B,)"),
    "inputs": (lambda value: isinstance(value, Mapping), "vidcam.Input by the names of forward's arguments"),
    "opener": (_or_none(callable), "a function (model, source, **choices) -> Source"),
    "extras": (_by_name(lambda value: hasattr(value, "read")), "vidcam.Extra by name"),
    "notes": (lambda value: isinstance(value, Sequence) and not isinstance(value, str), "a list of sentences"),
    "output": (
        _or_none(lambda value: isinstance(value, str | int) or callable(value)),
        "a key, an index or a function",
    ),
}
"""By slot: whether a value may be it, and what it must be."""


def check_kinds(model: Any) -> None:
    """Raise an OptionError for a slot of another kind."""
    for name, (fits, wanted) in KINDS.items():
        value = getattr(model, name)
        if not fits(value):
            given = repr(value) if isinstance(value, str | int | float) else type(value).__name__
            raise OptionError(f"{name} must be {wanted}; given {given}")
