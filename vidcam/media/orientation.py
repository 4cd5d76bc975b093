"""Turn and mirror frames as a container's display matrix says."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from vidcam.errors import MediaError
from vidcam.types import Pixels


class Orientation(NamedTuple):
    """Transpose first, then flip: any combination of quarter turns and mirroring."""

    transposed: bool = False
    flipped_rows: bool = False
    flipped_columns: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """Turn (H, W, 3) pixels upright; the result owns its memory."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        turned = turned[:: -1 if self.flipped_rows else 1, :: -1 if self.flipped_columns else 1]
        return np.array(turned, order="C") if turned.base is not None else turned


UPRIGHT = Orientation()
EXIF = {
    2: Orientation(flipped_columns=True),
    3: Orientation(flipped_rows=True, flipped_columns=True),
    4: Orientation(flipped_rows=True),
    5: Orientation(True),
    6: Orientation(True, flipped_columns=True),
    7: Orientation(True, flipped_rows=True, flipped_columns=True),
    8: Orientation(True, flipped_rows=True),
}
"""By the number of a photograph's orientation tag; 1 is upright."""
QUARTERS = {0: UPRIGHT, 90: EXIF[8], 180: EXIF[3], 270: EXIF[6]}
"""By degrees against the clock."""


def exif_orientation(file: Path) -> Orientation | None:
    """Read a photograph's orientation tag; None if it has none. A MediaError refuses too many pixels."""
    try:
        with Image.open(file) as picture:
            return EXIF.get(picture.getexif().get(0x0112, 1))
    except Image.DecompressionBombError:
        raise MediaError(f"cannot read the picture {str(file)!r}: it has too many pixels") from None
    except (OSError, ValueError, SyntaxError):  # no format that Pillow reads, damaged, or damaged tags
        return None


def orientation(frame: VideoFrame) -> Orientation | None:
    """Read a decoded frame's display matrix; None if it is no multiple of a quarter turn.

    The matrix maps a stored pixel to x' = a x + c y, y' = b x + d y; FFmpeg stores a b u, c d v, x y w.
    """
    try:
        side_data: Iterable[Any] = frame.side_data  # not the mapping that its type says
    except ValueError:  # PyAV raises on kinds that it does not know, as a photograph's EXIF
        return QUARTERS.get(round(frame.rotation) % 360)
    matrix = next((bytes(data) for data in side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32)[:5].tolist()
    if b == c == 0 and a and d:
        return Orientation(False, flipped_rows=d < 0, flipped_columns=a < 0)
    if a == d == 0 and b and c:
        return Orientation(True, flipped_rows=b < 0, flipped_columns=c < 0)
    return None if any((a, b, c, d)) else UPRIGHT
