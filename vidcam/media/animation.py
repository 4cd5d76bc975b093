"""Read animated WebP files, which FFmpeg does not, with Pillow."""

import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from vidcam.errors import MediaError
from vidcam.media.video import Frame, Video, VideoInfo

UNTIMED = Fraction(1, 10)  # seconds that browsers show a frame whose duration is 0
FAILURES = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)


def is_animated_webp(path: Path) -> bool:
    """Tell by the file's first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(21)
    except OSError:
        return False
    return len(head) == 21 and head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)


class AnimationVideo(Video):
    """An animated WebP; transparent pixels are black."""

    def __init__(self, path: Path) -> None:
        self._path = path
        ends = [Fraction(0)]
        with self._opened() as picture:
            width, height = picture.size
            for frame in self._pictures(picture):
                ends.append(ends[-1] + (Fraction(int(frame.info.get("duration", 0)), 1000) or UNTIMED))
        self._starts = [float(start) for start in ends[:-1]]
        self.info = VideoInfo(
            path=path,
            width=width,
            height=height,
            rate=Fraction((len(ends) - 1) / ends[-1]).limit_denominator(1001),
            has_audio=False,
            duration_seconds=float(ends[-1]),
            frame_count=len(ends) - 1,
            backend="pillow",
        )

    def __iter__(self) -> Iterator[Frame]:
        with self._opened() as picture:
            for index, frame in enumerate(self._pictures(picture)):
                black = Image.new("RGBA", frame.size, (0, 0, 0, 255))
                pixels = np.array(Image.alpha_composite(black, frame.convert("RGBA")).convert("RGB"))
                yield Frame(index, self._starts[index], pixels)

    def times(self) -> list[float]:
        return list(self._starts)

    def _opened(self) -> Image.Image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Image.open(self._path)
        except FAILURES:
            raise self._unreadable() from None

    def _pictures(self, picture: Image.Image) -> Iterator[Image.Image]:
        try:
            for frame in ImageSequence.Iterator(picture):
                frame.load()  # before that, the duration is the one of the frame before
                yield frame
        except FAILURES:
            raise self._unreadable() from None

    def _unreadable(self) -> MediaError:
        return MediaError(f"cannot read {str(self._path)!r}: it is damaged or not a video")
