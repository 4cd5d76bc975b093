"""Hints: what a network and its processor say of what it takes, as Hugging Face, timm and others do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vidcam.data.preprocessing import Preprocessing, Size

FRAMES = ("num_frames", "frames_per_clip", "n_frames", "clip_len", "clip_length", "num_segments", "n_segment")
SIZES = ("image_size", "crop_size", "img_size", "input_size", "spatial_size")
CHANNELS = ("num_channels", "in_channels", "in_chans")


@dataclass(frozen=True)
class Hint:
    """A value, and who says so."""

    value: Any
    where: str


@dataclass(frozen=True)
class Hints:
    """What is known of a network's input before it has run, each None where nobody says it."""

    frames: Hint | None
    size: Hint | None
    channels: Hint
    preprocessing: Hint | None
    labels: Hint | None


def find_hints(net: nn.Module, processor: Any = None) -> Hints:
    """Ask the processor, the network's configuration, and then its parts."""
    preprocessing = _preprocessing(net, processor)
    size = None if preprocessing is None else preprocessing.value.size
    return Hints(
        frames=_first(net, FRAMES, _number),
        size=Hint(size, preprocessing.where) if preprocessing and size else _first(net, SIZES, _size),
        channels=_channels(net),
        preprocessing=preprocessing,
        labels=_labels(net),
    )


def _preprocessing(net: nn.Module, processor: Any) -> Hint | None:
    if processor is not None:
        return Hint(Preprocessing.from_processor(processor), f"processor {type(processor).__name__}")
    told = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None)
    return (
        Hint(Preprocessing.from_processor(told), "pretrained_cfg")
        if isinstance(told, Mapping) and "input_size" in told
        else None
    )


def _labels(net: nn.Module) -> Hint | None:
    """Return the names that Hugging Face's configuration has, if anybody has given them."""
    named = getattr(getattr(net, "config", None), "id2label", None)
    if not isinstance(named, Mapping) or not named:
        return None
    labels = [str(named[index]) for index in sorted(named)]
    made_up = [f"LABEL_{index}" for index in range(len(labels))]
    return None if labels == made_up or len(set(labels)) < len(labels) else Hint(tuple(labels), "config.id2label")


def _channels(net: nn.Module) -> Hint:
    """Read the channels off the first convolution."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return Hint(module.in_channels, f"{name}.in_channels")
    return _first(net, CHANNELS, _number) or Hint(3, "assumed")


def _first(net: nn.Module, names: Sequence[str], read: Any) -> Hint | None:
    """Return the first value under one of the names, outer parts first."""
    for where, holder in _holders(net):
        for name in names:
            given = holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
            if name == "input_size" and isinstance(given, int):  # of a recurrent network: its features
                continue
            if given is not None and (value := read(given)) is not None:
                return Hint(value, f"{where}.{name}" if where else name)
    return None


def _holders(net: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield what may hold settings: the configuration, the network, its parts."""
    config = getattr(net, "config", None)
    for where, holder in (("config.vision_config", getattr(config, "vision_config", None)), ("config", config)):
        if holder is not None:
            yield where, holder
    yield from net.named_modules()


def _number(given: Any) -> int | None:
    return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else None


def _size(given: Any) -> Size | None:
    """Read 224, (224, 224) or (3, 224, 224) as (H, W)."""
    if (side := _number(given)) is not None:
        return side, side
    sides = [_number(each) for each in given] if isinstance(given, list | tuple) else []
    if len(sides) not in (2, 3) or None in sides:
        return None
    return sides[-2] or 0, sides[-1] or 0
