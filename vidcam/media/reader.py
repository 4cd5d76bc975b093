"""Open a video file, a folder of pictures, an animated GIF or WebP."""

from fractions import Fraction
from pathlib import Path

from vidcam.errors import MediaError, OptionError, unknown
from vidcam.media.animation import AnimationVideo, is_animated_webp
from vidcam.media.folder import FolderVideo
from vidcam.media.indexed import DecordVideo, IndexedVideo, TorchcodecVideo
from vidcam.media.pyav import PyavVideo
from vidcam.media.source import check_file
from vidcam.media.video import Video

_READERS: tuple[type[PyavVideo] | type[IndexedVideo], ...] = (PyavVideo, TorchcodecVideo, DecordVideo)
BACKENDS = {reader.name: reader for reader in _READERS}
FASTEST = "pyav"  # all frames in a row and single frames alike, see experiments/readers; it also reads the most


def open_video(path: str | Path, *, backend: str = "auto", rate: Fraction | float | None = None) -> Video:
    """Open a video file, an animated GIF or WebP, or a folder of pictures shown at `rate` frames per second.

    Args:
        path: the file or folder.
        backend: a name of `BACKENDS`; `auto` takes the fastest.
        rate: for a folder only; 25 if it is not given.

    Raises:
        MediaError: what cannot be read, in one line: the path and the reason.
        OptionError: an unknown backend, or a rate for a file, which has its own.
    """
    path = Path(path)
    check_backend(backend)
    if path.is_dir():
        return FolderVideo(path, rate=None if rate is None else _exact(rate))
    if rate is not None:
        raise OptionError(f"a rate is for a folder of pictures; {str(path)!r} has its own")
    check_file(path)
    if is_animated_webp(path):
        if backend != "auto":
            raise MediaError(f"backend {backend!r} cannot read {str(path)!r} (an animated WebP); backend 'auto' can")
        return AnimationVideo(path)
    return BACKENDS[FASTEST if backend == "auto" else backend](path)


def check_backend(name: str) -> None:
    """Raise an OptionError unless there is such a reader."""
    if name not in ("auto", *BACKENDS):
        raise OptionError(unknown("backend", name, ("auto", *BACKENDS)))


def _exact(rate: Fraction | float) -> Fraction:
    exact = Fraction(rate).limit_denominator(1001)
    if exact <= 0:
        raise OptionError(f"a rate must be positive, not {rate}")
    return exact
