"""Read video files with decord, which brings an older FFmpeg of its own."""

from importlib import import_module
from typing import Any, ClassVar

from vidcam.errors import MediaError
from vidcam.media.indexed import IndexedVideo, Read
from vidcam.types import Pixels


class DecordVideo(IndexedVideo):
    """A video file through decord: no AV1, no animated GIF."""

    name: ClassVar[str] = "decord"

    def _open(self) -> tuple[int, Read]:
        decord = _library()
        decord.logging.set_level(decord.logging.QUIET)
        reader = decord.VideoReader(str(self._path.absolute()), num_threads=0)

        def read(index: int) -> Pixels:
            pixels: Pixels = reader[index].asnumpy()
            return pixels

        return len(reader), read


def _library() -> Any:
    try:
        return import_module("decord")
    except ImportError:
        raise MediaError("backend 'decord' is not installed: pip install \"vidcam[decord]\"") from None
