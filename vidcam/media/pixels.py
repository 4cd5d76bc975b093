"""Pixels of a picture that is in memory: an array, a tensor, or one of Pillow's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vidcam.errors import MediaError
from vidcam.types import Pixels

DEEP = ("I", "F")
"""How Pillow's modes begin of more than 8 bits, which it clips."""
COLORS = 3


def pixels_of(picture: Any, name: str) -> Pixels:
    """Return a picture as (H, W, 3) uint8 RGB, in memory of its own.

    Args:
        picture: one of Pillow's, or an array or tensor (H, W, 3) or (3, H, W), uint8 or floats in 0..1.
        name: what it is called in an error.

    Raises:
        MediaError: it is none of these, or could be read in two ways.
    """
    if isinstance(picture, Image.Image):
        return _of_pillow(picture, name)
    array = _array(picture)
    if array is None:
        given = type(picture).__name__
        raise MediaError(f"{name} is no picture but {given}: give arrays (H, W, 3), or pictures of Pillow's")
    first = color_axis(array.shape, name) == 0
    return _in_bytes(np.moveaxis(array, 0, -1) if first else array, name)


def color_axis(shape: Sequence[int], name: str) -> int:
    """Tell which axis of a picture's shape holds its colors: 0 or 2.

    Raises:
        MediaError: none does, or either may.
    """
    if len(shape) != 3 or 0 in shape or COLORS not in (shape[0], shape[2]):
        hint = "; of one channel, repeat it three times" if len(shape) == 2 or 1 in (shape[0], shape[-1]) else ""
        hint = "; leave the opacity out, as array[..., :3]" if len(shape) == 3 and 4 in (shape[0], shape[2]) else hint
        raise MediaError(f"{name} has shape {tuple(shape)}; it must be (H, W, 3) or (3, H, W), RGB{hint}")
    if shape[0] == shape[2]:
        raise MediaError(
            f"{name} has shape {tuple(shape)}, which reads as (H, W, 3) and as (3, H, W); give it as "
            "PIL.Image.fromarray(array) of (H, W, 3)"
        )
    return 0 if shape[0] == COLORS else 2


def _of_pillow(picture: Image.Image, name: str) -> Pixels:
    if picture.mode.startswith(DEEP):
        raise MediaError(f"{name} is a picture of mode {picture.mode!r}, more than 8 bits; scale it to 'L' or 'RGB'")
    try:
        return np.array((ImageOps.exif_transpose(picture) or picture).convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"{name} cannot be read: {error}") from None


def _array(picture: Any) -> Any:
    """Return an array of what is one, on any device and of any library; None if it is none."""
    if hasattr(picture, "asnumpy"):  # decord's
        picture = picture.asnumpy()
    if hasattr(picture, "detach"):
        picture = picture.detach().cpu()
        picture = (picture.float() if picture.is_floating_point() else picture).numpy()
    return np.asarray(picture) if hasattr(picture, "shape") and hasattr(picture, "dtype") else None


def _in_bytes(array: Any, name: str) -> Pixels:
    if array.dtype == np.uint8:
        return np.array(array, order="C")
    if array.dtype.kind != "f":
        raise MediaError(f"{name} is of {array.dtype}; possible: uint8, or floats in 0..1")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # NaN neither
        raise MediaError(f"{name} holds floats from {low:.4g} to {high:.4g}; floats are in 0..1, 0..255 is for uint8")
    return np.ascontiguousarray(np.rint(np.asarray(array, np.float64) * 255).astype(np.uint8))
