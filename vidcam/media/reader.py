"""Open a video file, a folder of pictures, an animated GIF or WebP, or frames that are in memory."""

import os
from fractions import Fraction
from pathlib import Path

from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media.animation import AnimationVideo, is_animated_webp
from vidcam.media.folder import FolderVideo
from vidcam.media.indexed import DecordVideo, IndexedVideo, TorchcodecVideo
from vidcam.media.memory import checked_rate, has_clock, hold
from vidcam.media.pyav import PyavVideo
from vidcam.media.source import check_file
from vidcam.media.video import Video

_READERS: tuple[type[PyavVideo] | type[IndexedVideo], ...] = (PyavVideo, TorchcodecVideo, DecordVideo)
BACKENDS = {reader.name: reader for reader in _READERS}
FASTEST = "pyav"  # all frames in a row and single frames alike, see experiments/readers; it also reads the most


def open_video(path: object, *, backend: str = "auto", rate: Fraction | float | None = None) -> Video:
    """Open a video file, an animated GIF or WebP, or pictures shown at `rate` frames per second.

    Args:
        path: the file or folder; or frames in memory, of which none is copied: an array or tensor (T, H, W, 3) or (T,
            3, H, W), uint8 or floats in 0..1, a list of such or of Pillow's pictures, an iterator, which is gathered
            first, or a single picture; a decoder of torchcodec or decord; or an open video, which is returned.
        backend: a name of `BACKENDS`; `auto` takes the fastest.
        rate: of frames in memory, and of a folder, whose is 25 if it is not given.

    Raises:
        MediaError: what cannot be read, in one line: the path and the reason.
        OptionError: an unknown backend, or a rate for a file, which has its own.
    """
    check_backend(backend)
    if not isinstance(path, str | os.PathLike):
        if backend != "auto":
            raise OptionError(f"a backend reads files; leave backend={backend!r} out for frames in memory")
        return hold(path, rate)
    path = Path(path)
    if path.is_dir():
        return FolderVideo(path, rate=None if rate is None else checked_rate(rate))
    check_file(path)
    if rate is not None:
        raise OptionError(f"a rate is for a folder of pictures; {str(path)!r} has its own")
    if is_animated_webp(path):
        if backend != "auto":
            raise MediaError(f"backend {backend!r} cannot read {str(path)!r} (an animated WebP); backend 'auto' can")
        return AnimationVideo(path)
    return BACKENDS[FASTEST if backend == "auto" else backend](path)


def check_backend(name: str) -> None:
    """Raise an OptionError unless there is such a reader."""
    if name not in ("auto", *BACKENDS):
        raise OptionError(unknown("backend", name, ("auto", *BACKENDS)))


def lacks_rate(source: object) -> bool:
    """Whether a source does not tell how many of its frames are shown per second."""
    return Path(source).is_dir() if isinstance(source, str | os.PathLike) else not has_clock(source)
