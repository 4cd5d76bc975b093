"""Read video files with PyAV, which brings its own FFmpeg."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from vidcam.errors import MediaError
from vidcam.media.numbering import Numbering
from vidcam.media.orientation import UPRIGHT, orientation
from vidcam.media.source import (
    Packets,
    PacketTable,
    duration,
    frame_rate,
    opened,
    packets_tell,
    pixel_aspect,
    read_table,
    time_base,
    video_stream,
)
from vidcam.media.timeline import Clock
from vidcam.media.video import Frame, Video, VideoInfo
from vidcam.types import Pixels

HDR = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}


class _Damaged(Exception):
    """A decoder that works ahead in several threads met a damaged packet."""


class _Shown(NamedTuple):
    """A frame as it is due; where the decoder lost it, without a picture."""

    timestamp: int | None
    frame: VideoFrame | None


class PyavVideo(Video):
    """A video file through PyAV, which reads all that FFmpeg reads.

    A frame that cannot be decoded keeps its number and shows the picture before it; `notes` count them.
    """

    name: ClassVar[str] = "pyav"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts: list[str] = []
        self._skipped = self._concealed = self._lost = 0
        with opened(path) as container:
            stream = video_stream(container, path)
            self.containers = frozenset(container.format.name.split(","))
            self._rate, self._time_base = frame_rate(stream), time_base(container, stream)
            self._read_first(container, stream)
            self.info = self._describe(container, stream)

    @property
    def notes(self) -> list[str]:
        """What a user must know: what was skipped or concealed so far, and what the header got wrong."""
        notes = super().notes
        if self._skipped:
            notes.append(f"{_some(self._skipped, 'damaged packet')} skipped")
        if self._concealed:
            notes.append(f"{_some(self._concealed, 'damaged frame')} shown with what could be decoded")
        if self._lost:
            frames = "1 frame" if self._lost == 1 else f"{self._lost} frames"
            notes.append(f"{frames} could not be decoded: the picture before is shown instead")
        return notes

    def __iter__(self) -> Iterator[Frame]:
        clock, reformatter = Clock(self._rate, self._time_base), VideoReformatter()
        pixels: Pixels = np.empty((0, 0, 3), np.uint8)
        for index, (timestamp, frame) in enumerate(self._decoded()):
            pixels = pixels.copy() if frame is None else self._pixels(frame, reformatter)  # the first one is not lost
            yield Frame(index, clock.tick(timestamp), pixels)

    def _read_first(self, container: InputContainer, stream: VideoStream) -> None:
        """Decode one frame: only this tells the true size and which way is up, and that there is any frame."""
        _, first = next(self._frames(container, stream, Numbering(tells=False)), (None, None))
        if first is None:
            raise MediaError(f"cannot read {str(self._path)!r}: not one frame of its video can be decoded")
        self._first = first.pts
        self._stored = (first.width, first.height)
        upright = orientation(first)
        if upright is None:
            self._note("the video asks to be turned by an angle that is no quarter turn; it is shown unturned")
        self._upright = upright or UPRIGHT
        aspect = pixel_aspect(stream)
        self._aspect = 1 / aspect if self._upright.transposed else aspect
        if aspect != 1:
            ratio = f"{self._aspect.numerator}:{self._aspect.denominator}"
            self._note(f"the pixels are {ratio}, not square: a network sees the picture squeezed")
        if kind := HDR.get(int(first.color_trc)):
            self._note(f"the video is HDR ({kind}): its colors are taken as they are stored, paler than they are shown")

    def _describe(self, container: InputContainer, stream: VideoStream) -> VideoInfo:
        width, height = self._stored[::-1] if self._upright.transposed else self._stored
        return VideoInfo(
            path=self._path,
            width=width,
            height=height,
            rate=self._rate,
            has_audio=bool(container.streams.audio),
            duration_seconds=duration(container, stream),
            frame_count=stream.frames if stream.frames > 0 else None,
            backend=self.name,
            pixel_aspect=self._aspect,
        )

    def _pixels(self, frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
        """Convert to upright RGB by the color matrix and range that the frame names; without a name BT.601.

        A reformatter that serves all frames of a pass takes half the time of one for each.
        """
        width, height = self._stored
        if (frame.width, frame.height) != self._stored:
            self._note("the picture size changes; all frames are scaled to the first one's")
        rgb = reformatter.reformat(frame, width=width, height=height, format="rgb24", interpolation="BICUBIC")
        pixels: Any = rgb.to_ndarray()
        return self._upright.apply(pixels)

    def _decoded(self) -> Iterator[_Shown]:
        """Yield all frames; after damage start again in one thread, as working ahead loses good frames near it."""
        count = 0
        try:
            for frame in self._stream(threads=0):
                yield frame
                count += 1
        except _Damaged:
            yield from islice(self._stream(threads=1), count, None)

    def _stream(self, *, threads: int) -> Iterator[_Shown]:
        with opened(self._path) as container:
            stream = video_stream(container, self._path)
            stream.codec_context.thread_count = threads
            stream.thread_type = "SLICE" if threads == 1 else "AUTO"
            known = self._table.timestamps if threads == 1 and self._table is not None else ()
            numbering = Numbering(tells=packets_tell(container, stream), known=known)
            yield from self._frames(container, stream, numbering, strict=threads != 1)
            if numbering.packets < stream.frames - 1:  # a packed AVI's header counts one too many
                only = f"only {numbering.packets} could be read: it may be cut off"
                self._note(f"the file promises {stream.frames} frames, but {only}")

    def _frames(
        self, container: InputContainer, stream: VideoStream, numbering: Numbering, *, strict: bool = False
    ) -> Iterator[_Shown]:
        """Yield the frames in order; `strict` raises _Damaged at the first packet that cannot be decoded."""
        skipped = concealed = 0
        for packet in self._packets(container, stream):
            numbering.expect(packet)
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError):
                if strict:
                    raise _Damaged from None
                skipped += 1
                self._skipped = max(self._skipped, skipped)
                continue
            for frame in frames:
                concealed += bool(frame.is_corrupt)
                self._concealed = max(self._concealed, concealed)
                if (skipped or concealed) and numbering.is_late(frame.pts):
                    continue
                yield from self._without_picture(numbering.lost_before(frame.pts), numbering.lost)
                yield _Shown(frame.pts, frame)
        yield from self._without_picture(numbering.lost_at_the_end(), numbering.lost)

    def _without_picture(self, timestamps: Iterable[int], lost: int) -> Iterator[_Shown]:
        self._lost = max(self._lost, lost)
        return (_Shown(timestamp, None) for timestamp in timestamps)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Packets:
        """Yield the stream's packets and an empty one that makes the decoder give what it still holds."""
        try:
            yield from container.demux(stream)
        except (av.error.FFmpegError, OSError):
            self._note("the file breaks off: what follows could not be read")
            rest: av.Packet[Any] = av.Packet(0)
            rest.stream = stream
            yield rest

    @property
    def start(self) -> Fraction:
        """When the first picture is shown on the container's own clock, in seconds, where `Frame.seconds` has its 0."""
        return Fraction(0) if self._first is None or self._time_base is None else self._first * self._time_base

    @property
    def mirrored(self) -> bool:
        """Whether the container asks for more than turning."""
        return sum(self._upright) % 2 == 1

    @property
    def has_open_groups(self) -> bool:
        """Whether frames are shown before the key frame that they follow in the file."""
        return self._table is not None and self._table.leading

    def shown_seconds(self) -> list[float] | None:
        """Return the times of all frames without decoding them; None where that is not possible."""
        clock = Clock(self._rate, self._time_base)
        return None if self._table is None else [clock.tick(timestamp) for timestamp in self._table.timestamps]

    def times(self) -> list[float]:
        times = self.shown_seconds()
        return super().times() if times is None else times

    def pick(self, indices: Sequence[int]) -> Iterator[Frame]:
        last = -1
        with suppress(_Damaged, av.error.FFmpegError, OSError):
            if (table := self._table) is not None:
                for frame in self._seek(table, [index for index in indices if index < len(table.timestamps)]):
                    last = frame.index
                    yield frame
                return
        yield from super().pick([index for index in indices if index > last])

    def _seek(self, table: PacketTable, indices: list[int]) -> Iterator[Frame]:
        """Decode from the key frame before each index, or on from the one before where that is shorter."""
        seconds, reformatter = self.times(), VideoReformatter()
        with opened(self._path) as container:
            stream = video_stream(container, self._path)
            stream.thread_type = "AUTO"
            frames: Iterator[_Shown] = iter(())
            for position, index in enumerate(indices):
                timestamp = table.timestamps[index]
                key = table.key_before(timestamp)
                if position == 0 or key > table.timestamps[indices[position - 1]]:
                    container.seek(key, stream=stream)
                    frames = self._frames(container, stream, Numbering(tells=False), strict=True)
                there = (shown for shown in frames if shown.timestamp is not None and shown.timestamp >= timestamp)
                found, frame = next(there, (None, None))
                if frame is None or found != timestamp:
                    raise _Damaged
                yield Frame(index, seconds[index], self._pixels(frame, reformatter))

    @cached_property
    def _table(self) -> PacketTable | None:
        return read_table(self._path, self._first)

    def _note(self, fact: str) -> None:
        if fact not in self._facts:
            self._facts.append(fact)


def _some(count: int, noun: str) -> str:
    return f"{count} {noun} was" if count == 1 else f"{count} {noun}s were"
