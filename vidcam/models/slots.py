"""Slots: of what kind each of a model's is, so that a wrong one is said where it is given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from numbers import Real
from typing import Any

from torch import nn

from vidcam.attribution.geometry import Axis
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import SAMPLINGS
from vidcam.errors import OptionError, unknown

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


def pace(model: Any) -> str:
    """Say how a model's frames lie in time."""
    if model.sampling == "spread":
        return " spread over the video" + (f" in {model.clips} clips" if model.clips > 1 else "")
    return "" if model.frame_rate is None else f" at {model.frame_rate:g} per second"


def check_time(model: Any) -> None:
    """Raise an OptionError where the slots that say how a network looks at time do not fit each other."""
    frames, rate, sampling, clips = model.frames, model.frame_rate, model.sampling, model.clips
    for name, value in (("frames", frames), ("clips", clips)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise OptionError(f"{name} must be a whole number; given {value!r}")
    if frames < 1 or (rate is not None and not 0 < rate < inf):
        raise OptionError(f"frames and frame_rate must be positive; given {frames} and {rate}")
    if model.input_layout == "b c h w" and frames != 1:
        raise OptionError(f"a network of single pictures (input layout 'b c h w') has frames=1; given {frames}")
    if sampling not in SAMPLINGS:
        raise OptionError(unknown("sampling", sampling, SAMPLINGS))
    if clips < 1 or (clips > 1 and sampling != "spread"):
        raise OptionError(
            f"clips= tells how many clips sampling='spread' takes, at least 1; given {clips}, {sampling!r}"
        )
    if sampling == "spread":
        _check_spread(model)


def _check_spread(model: Any) -> None:
    """Refuse what takes frames that follow each other."""
    if model.frame_rate is not None:
        raise OptionError(
            f"sampling='spread' takes frames of the whole video, whatever its length, so that frame_rate must be None; "
            f"given {model.frame_rate:g}; sampling='windows' has a rate"
        )
    if model.state == "carried":
        raise OptionError(
            "sampling='spread' looks at the whole video at once, so that no state is carried on: say state='fresh', or "
            "sampling='windows'"
        )
    if chained := [name for name, extra in model.extras.items() if extra.join is not None]:
        raise OptionError(
            f"{chained[0]!r} is joined of windows that follow each other, which sampling='spread' has none of: say "
            "sampling='windows'"
        )
