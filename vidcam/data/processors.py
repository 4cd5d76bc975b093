"""Processors: what Hugging Face's, timm's and torchvision's ways to feed a network do, as slots of `Preprocessing`."""

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any

from vidcam.errors import OptionError

RESAMPLINGS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as Hugging Face's processors give them."""
Settings = dict[str, Any]


def read_processor(processor: Any) -> Settings:
    """Read what a processor does to a frame, see `Preprocessing.from_processor`."""
    if isinstance(processor, Mapping):
        return read_timm(processor)
    for part in ("video_processor", "image_processor"):  # of a processor for text, too
        processor = getattr(processor, part, None) or processor
    if hasattr(processor, "do_resize"):
        return _read_hugging_face(processor)
    if hasattr(processor, "resize_size") and hasattr(processor, "crop_size"):
        return _read_preset(processor)
    if isinstance(steps := getattr(processor, "transforms", None), Sequence):
        return _read_steps(steps)
    raise OptionError(
        f"cannot read what {type(processor).__name__} does to a frame; give a Hugging Face processor, timm's "
        "pretrained_cfg, torchvision's transforms, or a vidcam.Preprocessing"
    )


def read_timm(told: Mapping[str, Any]) -> Settings:
    """Read timm's configuration, as `net.pretrained_cfg`: the crop, its share of the frame, mean and deviation."""
    _, height, width = told["input_size"]
    share, mode = told.get("crop_pct") or 1.0, told.get("crop_mode") or "center"
    enlarged = floor(height / share), floor(width / share)
    if mode not in ("center", "squash") or (mode == "center" and height != width):
        raise OptionError(f"timm's crop mode {mode!r} of {height}x{width} cannot be read; say preprocessing=")
    return dict(
        resize=enlarged[0] if mode == "center" else enlarged,
        crop=(height, width),
        mean=tuple(told.get("mean", (0.0, 0.0, 0.0))),
        std=tuple(told.get("std", (1.0, 1.0, 1.0))),
        antialias=True,
        interpolation=_interpolation(told.get("interpolation", "bilinear")),
    )


def _read_hugging_face(processor: Any) -> Settings:
    """Read the settings that all of its processors for images and videos share."""

    def told(name: str, default: Any = None) -> Any:
        value = getattr(processor, name, None)
        return default if value is None else value

    if told("do_pad", False) or told("do_convert_grayscale", False) or told("do_flip_channel_order", False):
        raise OptionError(f"{type(processor).__name__} pads or turns colors; say preprocessing=")
    chosen: Settings = {"antialias": True, "interpolation": _interpolation(told("resample", 2))}
    chosen["resize"] = _side(told("size")) if told("do_resize", False) else None
    chosen["crop"] = _pair(told("crop_size")) if told("do_center_crop", False) else None
    factor, shift = (told("rescale_factor", 1 / 255), 1.0 if told("offset", False) else 0.0)
    if not told("do_rescale", False):
        factor, shift = 1.0, 0.0
    channels = 3
    mean, std = (0.0,) * channels, (1.0,) * channels
    if told("do_normalize", False):
        mean, std = tuple(map(float, told("image_mean"))), tuple(map(float, told("image_std")))
    return dict(**chosen, divisor=1 / factor, mean=tuple(each + shift for each in mean), std=std)


def _read_preset(preset: Any) -> Settings:
    """Read torchvision's own preset; one number is the length of the shorter side."""
    resize, crop = list(preset.resize_size), list(preset.crop_size)
    return dict(
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        crop=(crop[0], crop[-1]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        antialias=bool(getattr(preset, "antialias", False)),  # presets for videos have no such choice
        interpolation=_interpolation(getattr(preset, "interpolation", "bilinear")),
    )


def _read_steps(steps: Sequence[Any]) -> Settings:
    """Read torchvision's transforms one after the other: resize, crop, to numbers, normalize, each at most once."""
    chosen: Settings = {"divisor": 1.0}
    order = [name for step in steps if (name := _read_step(step, chosen)) is not None]
    wanted = [name for name in ("resize", "crop", "divisor", "mean") if name in order]
    if [name for name in order if name != "channels"] != wanted:
        raise OptionError(f"transforms in the order {', '.join(order)} cannot be read; say preprocessing=")
    return chosen


def _read_step(step: Any, chosen: Settings) -> str | None:
    """Note what a transform does; return the name of what it settles."""
    kind = type(step).__name__
    if kind not in STEPS:
        raise OptionError(f"the transform {kind} cannot be read; possible: {', '.join(STEPS)}; or say preprocessing=")
    settled, read = STEPS[kind]
    chosen.update(read(step))
    return settled


def _resize(step: Any) -> Settings:
    antialias = getattr(step, "antialias", True)
    return {
        "resize": _side(step.size),
        "interpolation": _interpolation(step.interpolation),
        "antialias": True if antialias == "warn" else bool(antialias),
    }


STEPS: dict[str, tuple[str | None, Callable[[Any], Settings]]] = {
    "Resize": ("resize", _resize),
    "CenterCrop": ("crop", lambda step: {"crop": _pair(step.size)}),
    "Grayscale": ("channels", lambda step: {"channels": "gray"} if step.num_output_channels == 1 else {}),
    "ToTensor": ("divisor", lambda _: {"divisor": 255.0}),
    "ConvertImageDtype": ("divisor", lambda _: {"divisor": 255.0}),
    "ToDtype": ("divisor", lambda step: {"divisor": 255.0 if step.scale else 1.0}),
    "Normalize": ("mean", lambda step: {"mean": tuple(step.mean), "std": tuple(step.std)}),
    **{name: (None, lambda _: {}) for name in ("ToPILImage", "ToImage", "PILToTensor", "ToPureTensor")},
}
"""Torchvision's transforms that can be read, what they settle, and how."""


def _interpolation(given: Any) -> str:
    """Read Pillow's number, its name, or torchvision's."""
    name = RESAMPLINGS.get(int(given)) if isinstance(given, int) else str(getattr(given, "value", given)).lower()
    if name not in RESAMPLINGS.values():
        raise OptionError(f"interpolation {given} cannot be read; possible: {', '.join(RESAMPLINGS.values())}")
    return str(name)


def _side(given: Any) -> int | tuple[int, int]:
    """Read a size: the shorter side, or height and width."""
    if isinstance(given, int):
        return given
    if (shorter := _part(given, "shortest_edge")) is not None:
        if _part(given, "longest_edge") is not None:
            raise OptionError(f"size {dict(given)} has a longest edge, which cannot be read; say preprocessing=")
        return int(shorter)
    if isinstance(given, Sequence) and len(given) == 1:
        return int(given[0])
    return _pair(given)


def _pair(given: Any) -> tuple[int, int]:
    if isinstance(given, int):
        return given, given
    if (height := _part(given, "height")) is not None:
        return int(height), int(_part(given, "width"))
    if isinstance(given, Sequence) and len(given) == 2:
        return int(given[0]), int(given[1])
    raise OptionError(f"size {given} cannot be read; say preprocessing=")


def _part(given: Any, name: str) -> Any:
    """Read a part of a size, which may be a mapping or an object."""
    return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
