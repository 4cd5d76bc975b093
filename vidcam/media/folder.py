"""Read a folder of pictures as a video."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from vidcam.errors import MediaError
from vidcam.media.orientation import UPRIGHT, exif_orientation, orientation
from vidcam.media.source import DEFAULT_RATE, LENIENT, reason
from vidcam.media.video import Frame, Video, VideoInfo
from vidcam.types import Pixels

JPEG = frozenset({".jpg", ".jpeg"})
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class FolderVideo(Video):
    """The pictures of a folder in natural order (frame2 before frame10), all of one size, index / rate seconds apart.

    A picture that cannot be read is an error: leaving it out would shift all that follow. So are pictures of which some
    are named otherwise than the rest, as optical flow beside RGB: those are several videos.
    """

    def __init__(self, path: Path, *, rate: Fraction | None = None) -> None:
        self._files = pictures(path)
        _check_one_video(path, self._files)
        self._rate = rate or DEFAULT_RATE
        assumed = f"a folder has no frame rate: {self._rate} frames per second are assumed"
        self._facts = [] if rate else [assumed]
        height, width, _ = self._read(self._files[0]).shape
        self.info = VideoInfo(
            path=path,
            width=width,
            height=height,
            rate=self._rate,
            has_audio=False,
            duration_seconds=float(len(self._files) / self._rate),
            frame_count=len(self._files),
            backend="folder",
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self._frame(index) for index in range(len(self._files)))

    def times(self) -> list[float]:
        return [float(index / self._rate) for index in range(len(self._files))]

    def pick(self, indices: Sequence[int]) -> Iterator[Frame]:
        return (self._frame(index) for index in indices if index < len(self._files))

    def _frame(self, index: int) -> Frame:
        file, first = self._files[index], self._files[0]
        pixels = self._read(file)
        height, width, _ = pixels.shape
        if (width, height) != (self.info.width, self.info.height):
            sizes = f"{first.name!r} is {self.info.width}x{self.info.height}, {file.name!r} is {width}x{height}"
            raise MediaError(f"the pictures in {str(self.info.path)!r} differ in size: {sizes}")
        return Frame(index, float(index / self._rate), pixels)

    def _read(self, file: Path) -> Pixels:
        if not file.is_file():  # a pipe would be waited for without end
            raise MediaError(f"cannot read the picture {str(file)!r}: it is no file")
        photographed = exif_orientation(file)
        try:
            frame = _decode(file)
        except (av.error.FFmpegError, OSError, StopIteration) as error:
            raise MediaError(f"cannot read the picture {str(file)!r}: {reason(error)}") from None
        if _is_torn(file):
            raise MediaError(f"cannot read the picture {str(file)!r}: it breaks off")
        pixels: Any = frame.to_ndarray(format="rgb24")
        return (photographed or orientation(frame) or UPRIGHT).apply(pixels)


def pictures(folder: Path) -> list[Path]:
    """List a folder's pictures in natural order; where numbers have decimals, in the order of their values."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURES and file.name[0] != "."]
    except OSError as error:
        raise MediaError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from None
    if not files:
        raise MediaError(f"the folder {str(folder)!r} holds no pictures ({', '.join(sorted(PICTURES))})")
    return sorted(files, key=partial(natural, decimals=_have_decimals(files)))


def natural(file: Path, *, decimals: bool = False) -> tuple[list[tuple[Decimal, str]], str]:
    """Give a key that sorts numbers in names by their value; whether a point in a number begins its decimals."""
    parts = re.findall(r"\d+\.\d+|\d+|\D+" if decimals else r"\d+|\D+", file.name.lower())
    return [(Decimal(part), "") if part[0].isdecimal() else (Decimal(-1), part) for part in parts], file.name


def _have_decimals(files: Sequence[Path]) -> bool:
    """Tell 0.5, 0.25, 1.0 from 1.9, 1.10: decimals of several lengths do not end with zeros."""
    fractions = {part for file in files for part in re.findall(r"\d+\.(\d+)", file.stem)} - {"0"}
    return len(set(map(len, fractions))) < 2 or not any(part.endswith("0") for part in fractions)


def _check_one_video(folder: Path, files: Sequence[Path]) -> None:
    """Raise a MediaError if names begin in several ways before their number, or if numbers come twice."""
    beginnings: dict[str, list[Path]] = {}
    numbers: dict[tuple[str, ...], Path] = {}
    for file in files:
        beginnings.setdefault(re.split(r"\d", file.stem, maxsplit=1)[0], []).append(file)
        if (digits := tuple(re.findall(r"\d+", file.stem))) and numbers.setdefault(digits, file) is not file:
            raise _several(folder, [numbers[digits], file])
    if 1 < len(beginnings) < len(files):
        raise _several(folder, [first for first, *_ in beginnings.values()])


def _several(folder: Path, files: Sequence[Path]) -> MediaError:
    names = ", ".join(repr(file.name) for file in files[:4])
    return MediaError(
        f"the pictures in {str(folder)!r} are not one video: {names}; give a folder that holds one of them"
    )


def _is_torn(file: Path) -> bool:
    """Tell whether a JPEG has no end after its last scan; FFmpeg shows what there is and says nothing."""
    data = file.read_bytes() if file.suffix.lower() in JPEG else b""
    return data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")


def _decode(file: Path) -> VideoFrame:
    # An open file and not its name: in a name FFmpeg would take "%d" for a number to fill in.
    with file.open("rb") as data, av.open(data, "r", **LENIENT) as container:
        frame: VideoFrame = next(container.decode(video=0))
        return frame
