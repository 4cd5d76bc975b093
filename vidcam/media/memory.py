"""Videos that lie in no file: arrays, tensors, lists of pictures, and decoders that others have opened."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from PIL import Image

from vidcam.errors import MediaError, OptionError
from vidcam.media.pixels import COLORS, color_axis, pixels_of
from vidcam.media.source import DEFAULT_RATE
from vidcam.media.video import Frame, Video, VideoInfo
from vidcam.types import Pixels

POSSIBLE = (
    "a path, an array or tensor (T, H, W, 3) or (T, 3, H, W), pictures (a list, an iterator, or a single one), a "
    "decoder of torchcodec or decord, an open video"
)


class MemoryVideo(Video):
    """Frames that are asked for by index; none is kept, and nothing is copied but the one that is read."""

    def __init__(self, kind: str, count: int, rate: Fraction) -> None:
        if not count:
            raise MediaError(f"the {kind} holds no frames")
        height, width, _ = self._read(0).shape
        self.info = VideoInfo(
            path=None,
            width=width,
            height=height,
            rate=rate,
            has_audio=False,
            duration_seconds=float(count / rate),
            frame_count=count,
            backend=kind,
        )
        self._count = count

    def __iter__(self) -> Iterator[Frame]:
        return (self._frame(index) for index in range(self._count))

    def times(self) -> list[float]:
        return [self._seconds(index) for index in range(self._count)]

    @abstractmethod
    def _read(self, index: int) -> Pixels:
        """Return the pixels of a frame, in memory of their own."""

    def _seconds(self, index: int) -> float:
        return float(index / self.info.rate)

    def _pick(self, indices: list[int]) -> dict[int, Frame]:
        return {index: self._frame(index) for index in indices if index < self._count}

    def _frame(self, index: int) -> Frame:
        pixels = self._read(index)
        height, width, _ = pixels.shape
        if (width, height) != (self.info.width, self.info.height):
            sizes = f"frame 0 is {self.info.width}x{self.info.height}, frame {index} is {width}x{height}"
            raise MediaError(f"the pictures of {self.info.name} differ in size: {sizes}")
        return Frame(index, self._seconds(index), pixels)


class PicturesVideo(MemoryVideo):
    """Pictures one after the other, index / rate seconds apart."""

    def __init__(self, kind: str, pictures: Sequence[Any], rate: Fraction) -> None:
        self._pictures = pictures
        super().__init__(kind, len(pictures), rate)

    def _read(self, index: int) -> Pixels:
        return pixels_of(self._pictures[index], f"frame {index}")


class DecoderVideo(MemoryVideo):
    """What a decoder of torchcodec or decord decodes, at its own rate and times, from 0 at the first frame."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        rate = decoder.metadata.average_fps if hasattr(decoder, "metadata") else decoder.get_avg_fps()
        self._starts: dict[int, float] = {}
        super().__init__("decoder", len(decoder), checked_rate(rate))

    def __iter__(self) -> Iterator[Frame]:
        before = -1.0
        for frame in super().__iter__():
            if frame.seconds <= before:
                raise MediaError(f"the decoder's times do not increase at frame {frame.index}; give the file's path")
            before = frame.seconds
            yield frame

    def _read(self, index: int) -> Pixels:
        if not hasattr(self._decoder, "get_frame_at"):
            return pixels_of(self._decoder[index], f"frame {index}")
        frame = self._decoder.get_frame_at(index)
        self._starts[index] = float(frame.pts_seconds)
        return pixels_of(frame.data, f"frame {index}")

    def _seconds(self, index: int) -> float:
        return self._start(index) - self._start(0)

    def _start(self, index: int) -> float:
        if index not in self._starts:
            if hasattr(self._decoder, "get_frame_at"):
                self._starts[index] = float(self._decoder.get_frame_at(index).pts_seconds)
            else:
                self._starts[index] = float(self._decoder.get_frame_timestamp(index)[0])
        return self._starts[index]


def hold(given: Any, rate: Fraction | float | None) -> Video:
    """Return frames that are in memory, or that somebody has opened, as a video.

    An iterator is gathered first, since a video is gone through several times.

    Raises:
        MediaError: what is no picture, or could be read in two ways.
        OptionError: what is no source, frames without a rate, or a rate for what has its own.
    """
    if has_clock(given):
        if rate is not None:
            raise OptionError(f"a rate is for pictures that have none; {type(given).__name__} has its own")
        return given if isinstance(given, Video) else DecoderVideo(given)
    if isinstance(given, Image.Image) or _is_picture(getattr(given, "shape", ())):
        return PicturesVideo("picture", [given], DEFAULT_RATE if rate is None else checked_rate(rate))
    kind = type(given).__name__
    if isinstance(given, str | bytes | Mapping) or not (isinstance(given, Iterable) or hasattr(given, "__getitem__")):
        raise OptionError(f"a source is {POSSIBLE}; given {kind}")
    if rate is None:
        raise OptionError(f"frames of {kind} have no rate: give rate=, in frames per second")
    if hasattr(given, "shape"):
        _check_shape(given.shape, kind)
    indexed = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    return PicturesVideo(kind, given if indexed else list(given), checked_rate(rate))


def has_clock(given: Any) -> bool:
    """Whether frames that are in memory know when they are shown."""
    return isinstance(given, Video) or (
        hasattr(given, "__len__") and (hasattr(given, "get_frame_at") or hasattr(given, "get_avg_fps"))
    )


def checked_rate(rate: Any) -> Fraction:
    """Return a rate exactly; an OptionError unless it is positive."""
    try:
        exact = Fraction(rate).limit_denominator(1001)
    except (TypeError, ValueError, OverflowError):
        exact = Fraction(0)
    if exact <= 0:
        raise OptionError(f"a rate must be positive, not {rate}")
    return exact


def _is_picture(shape: Sequence[int]) -> bool:
    return len(shape) == 3 and COLORS in (shape[0], shape[2])


def _check_shape(shape: Sequence[int], kind: str) -> None:
    """Refuse the shape of frames that reads in no way or in two."""
    name = f"the {kind}"
    if len(shape) != 4:
        hint = "; of one channel, repeat it three times, as array[..., None].repeat(3, -1)" if len(shape) == 3 else ""
        hint = "; give one video at a time, as array[0]" if len(shape) == 5 else hint
        raise MediaError(f"{name} has shape {tuple(shape)}; it must be (T, H, W, 3) or (T, 3, H, W){hint}")
    if shape[0]:
        axis = color_axis(shape[1:], f"each frame of {name}")
        if axis == 0 and shape[0] == COLORS:
            raise MediaError(
                f"{name} has shape {tuple(shape)}, which reads as (T, 3, H, W) and as (3, T, H, W); give a list of "
                "its frames, or (T, H, W, 3)"
            )
