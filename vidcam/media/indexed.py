"""Readers whose decoder is asked for frames by index: decord, and TorchCodec with the system's FFmpeg libraries."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidcam.errors import MediaError
from vidcam.media.pyav import PyavVideo
from vidcam.media.video import Frame, Video
from vidcam.types import Pixels

Read = Callable[[int], Pixels]  # index -> (H, W, 3) uint8 RGB in memory of its own


class IndexedVideo(Video):
    """A video whose frames another library decodes; size, times and order are those of `PyavVideo`.

    A file that the library would get wrong is refused with a MediaError that names the backend that reads it:
    mirrored videos, packed AVIs, damaged files, and whatever it counts or sizes differently.
    """

    name: ClassVar[str]
    module: ClassVar[str] = ""  # that decodes, if it is not called as the reader

    def __init__(self, path: Path) -> None:
        self._path = path
        source = PyavVideo(path)
        times = source.shown_seconds()
        if times is None:
            raise self._refusal("its timestamps do not tell the order of its frames")
        if why := self._mistakes(source):
            raise self._refusal(why)
        self._times, self._facts = times, source.notes
        self.info = replace(source.info, backend=self.name)
        self._read_one(self._opened(), 0)

    def __iter__(self) -> Iterator[Frame]:
        read = self._opened()
        for index in range(len(self._times)):
            yield self._read_one(read, index)

    def times(self) -> list[float]:
        return self._times

    def pick(self, indices: Sequence[int]) -> Iterator[Frame]:
        read = self._opened()
        return (self._read_one(read, index) for index in indices if index < len(self._times))

    def _mistakes(self, source: PyavVideo) -> str | None:
        """Say what of this video the library is known to get wrong."""
        return "it is mirrored" if source.mirrored else None

    @abstractmethod
    def _open(self) -> tuple[int, Read]:
        """Open a decoder: how many frames it counts, and how to read one."""

    def _library(self) -> Any:
        try:
            return import_module(self.module or self.name)
        except ImportError:
            raise MediaError(f'backend {self.name!r} is not installed: pip install "vidcam[{self.name}]"') from None

    def _opened(self) -> Read:
        try:
            count, read = self._open()
        except MediaError:
            raise
        except Exception as error:  # these libraries raise their own kinds, RuntimeError among them
            raise self._refusal(_first_line(error)) from None
        if count != len(self._times):
            raise self._refusal(f"it counts {count} frames of {len(self._times)}")
        return read

    def _read_one(self, read: Read, index: int) -> Frame:
        try:
            pixels = read(index)
        except Exception as error:
            raise self._refusal(f"frame {index}: {_first_line(error)}") from None
        if pixels.shape != (self.info.height, self.info.width, 3):
            raise self._refusal(f"frame {index} comes as {pixels.shape[1]}x{pixels.shape[0]}")
        return Frame(index, self._times[index], pixels)

    def _refusal(self, why: str) -> MediaError:
        return MediaError(f"backend {self.name!r} cannot read {str(self._path)!r} ({why}); backend 'pyav' can")


class DecordVideo(IndexedVideo):
    """A video file through decord, which brings an older FFmpeg of its own: no AV1, no animated GIF."""

    name: ClassVar[str] = "decord"
    MISSED = frozenset({"mpegts", "mpeg", "asf"})
    """Containers without an index, in which it lands on other frames than it is asked for."""

    def _mistakes(self, source: PyavVideo) -> str | None:
        for container in source.containers & self.MISSED:
            return f"it misses frames in {container}, which has no index"
        return "it misses frames in open groups of pictures" if source.has_open_groups else super()._mistakes(source)

    def _open(self) -> tuple[int, Read]:
        decord = self._library()
        decord.logging.set_level(decord.logging.QUIET)
        reader = decord.VideoReader(str(self._path.absolute()), num_threads=0)
        return len(reader), lambda index: np.asarray(reader[index].asnumpy())


class TorchcodecVideo(IndexedVideo):
    """A video file through TorchCodec; older ones look for FFmpeg when imported, newer ones when opened."""

    name: ClassVar[str] = "torchcodec"
    module: ClassVar[str] = "torchcodec.decoders"

    def _open(self) -> tuple[int, Read]:
        options = {"dimension_order": "NHWC", "num_ffmpeg_threads": 0, "seek_mode": "exact"}
        try:
            decoder = self._library().VideoDecoder(str(self._path.absolute()), **options)
        except (RuntimeError, OSError) as error:
            if "libtorchcodec" not in str(error):
                raise
            raise MediaError("TorchCodec finds no FFmpeg libraries: install FFmpeg, or use backend 'pyav'") from None
        return len(decoder), lambda index: np.array(decoder.get_frame_at(index).data.numpy())


def _first_line(error: Exception) -> str:
    """Shorten a library's report, which may hold times, paths of its sources and a whole stack trace."""
    lines = (" ".join(re.sub(r"\[\d\d:\d\d:\d\d\]|\S*/\S+", "", line).split()) for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:120]
