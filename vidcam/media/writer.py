"""Write a video file: frame by frame, with the source's sound, whole or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import OutputContainer

from vidcam.errors import MediaError
from vidcam.media.files import check_replaceable, replacing
from vidcam.media.formats import choose
from vidcam.media.picture import GifPicture, YuvPicture
from vidcam.media.sound import Sound
from vidcam.media.source import Packets, reason
from vidcam.media.timeline import Timeline
from vidcam.types import Pixels

SQUARE = Fraction(1)
GIF_TIME_BASE = Fraction(1, 100)
FAILURES = (av.error.FFmpegError, OSError, ValueError)
MOST_DENOMINATOR = 100_000  # leaves every real rate exact; containers count in 32 bits


class VideoWriter:
    """Write frames to a video; use it as a context manager.

    The extension chooses the format (.mp4, .mov, .mkv: H.264; .webm: VP9; .gif), `codec` another one the format takes
    (`h264`, `vp9`, `av1`). The file appears when the block ends without an exception; otherwise nothing is left.
    Pixels are shown `pixel_aspect` times as wide as high. `notes` then says what a user must know: padding, sound that
    was encoded anew or left out.

    Raises:
        MediaError: a file that exists without `force`, an unknown extension, a folder that cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        rate: Fraction,
        audio_from: str | Path | None = None,
        force: bool = False,
        codec: str | None = None,
        pixel_aspect: Fraction = SQUARE,
    ) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._size, self._rate, self._force = (height, width), _encodable(rate), force
        self._format, self._codec = choose(self.path, codec)
        self._source = None if audio_from is None else Path(audio_from)
        check_replaceable(self.path, force=force)
        gif = self._format.sound is None
        self._timeline = Timeline(self._rate, time_base=GIF_TIME_BASE if gif else None, from_zero=gif)
        self._picture_class = GifPicture if gif else YuvPicture
        self._aspect = pixel_aspect if self._codec.keeps_aspect else SQUARE
        if self._aspect != pixel_aspect:
            self.notes.append(
                f"the pixels are not square, which {self.path.suffix} does not keep: they are shown squeezed"
            )
        if not gif and (width % 2 or height % 2):
            padded = f"{width + width % 2}x{height + height % 2}"
            self.notes.append(f"{width}x{height} padded to {padded}: the last row or column is repeated")
        self._stack = ExitStack()
        self._written = self._dropped = 0
        self._output: OutputContainer
        self._sound: Sound

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path, force=self._force))
            self._open(stack, temporary)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, tb)
            return
        with self._stack:
            self._finish()

    def write(self, pixels: Pixels, seconds: float | None = None) -> None:
        """Add one frame: (H, W, 3) uint8 RGB, shown from `seconds` on; 0 is the first picture of `audio_from`.

        Without `seconds`, or with seconds that agree with the constant rate, frames lie exactly 1 / rate apart.
        """
        self._check(pixels)
        if seconds is not None and not 0 <= seconds < inf:
            raise MediaError(f"cannot write {str(self.path)!r}: seconds count from 0 on; given {seconds:g}")
        timestamp = self._timeline.place(seconds)
        if timestamp is None:
            self._dropped += 1
            return
        with self._encoding():
            self._mux(self._picture.encode(pixels, timestamp))
        self._sound.write(timestamp * self._timeline.time_base)
        self._written += 1

    def _check(self, pixels: Pixels) -> None:
        shape = (*self._size, 3)
        if not isinstance(pixels, np.ndarray) or pixels.shape != shape or pixels.dtype != np.uint8:
            given = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {getattr(pixels, 'shape', '')}".strip()
            raise MediaError(f"cannot write {str(self.path)!r}: a frame must be uint8 {shape}, not {given}")

    def _open(self, stack: ExitStack, temporary: Path) -> None:
        """Open the encoders and write the header; without the sound if that is what fails."""
        try:
            self._begin(temporary, self._source)
        except FAILURES as error:
            if self._source is None:
                raise self._failure(error) from None
            self.notes.append(f"the sound could not be carried over: {reason(error)}")
            with self._encoding():
                self._begin(temporary, None)
        stack.push(self._close)

    def _begin(self, temporary: Path, source: Path | None) -> None:
        self._output = av.open(f"file:{temporary.absolute()}", "w", options=self._format.options)
        height, width = self._size
        self._picture = self._picture_class(
            self._output, self._codec, width=width, height=height, rate=self._rate, time_base=self._timeline.time_base
        )
        if self._aspect != SQUARE:
            self._picture.stream.codec_context.sample_aspect_ratio = self._aspect
        self._sound = Sound(source, self._output, self._format)
        self._output.start_encoding()

    def _mux(self, packets: Packets) -> None:
        for packet in packets:
            packet.duration = self._timeline.step  # matters for the last frame: how long it is shown
            self._output.mux(packet)

    def _finish(self) -> None:
        if not self._written:
            raise MediaError(f"nothing was written to {str(self.path)!r}: not one frame was given")
        if self._dropped:
            self.notes.append(f"{self._dropped} frames were left out: not later than the one before, in this format")
        with self._encoding():
            self._mux(self._picture.flush())
        self._sound.write(None)

    def _close(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the files; an error of the encoder's own is told only if nothing else went wrong."""
        self._sound.close()
        self.notes += self._sound.notes
        with suppress(*FAILURES) if error else self._encoding():
            self._output.close()

    @contextmanager
    def _encoding(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> MediaError:
        return MediaError(f"cannot write {str(self.path)!r}: {reason(error)}")


def _encodable(rate: Fraction) -> Fraction:
    exact = Fraction(rate).limit_denominator(MOST_DENOMINATOR)
    if exact <= 0:
        raise MediaError(f"a frame rate must be positive, not {rate}")
    return exact
