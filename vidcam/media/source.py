"""Open a video file's container and find out what it holds, down to when each frame is shown, without decoding."""

import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vidcam.errors import MediaError, not_there

# An AVI stores no timestamps: FFmpeg counts packets instead, which goes wrong where a packet holds two frames.
WITHOUT_TIMESTAMPS = frozenset({"avi"})
HIDDEN_FRAMES = frozenset({"vp8"})  # it keeps frames that are never shown in packets of their own
DEFAULT_RATE = Fraction(25)
Packets = Iterator["av.Packet[Any]"]
LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""Lets tags be in any encoding; since version 19 PyAV always does."""
TEXT_FORMATS = frozenset({"tty", "concat", "ffmetadata", "hls", "dash"})  # a text file, or a list of other files


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open the container at `path`, and close it at the end; a MediaError if it is no readable file or container."""
    check_file(path)
    # With logs on, a decoder's threads need the interpreter's lock to report damage, while freeing the decoder holds it
    # and waits for them: a deadlock. Importing torchvision before 0.26 turns logs on.
    av.logging.set_level(None)
    try:
        # `file:` and an absolute path: a name may begin with a dash or look like a protocol.
        container = av.open(f"file:{path.absolute()}", "r", **LENIENT)
    except (av.error.FFmpegError, OSError) as error:
        raise MediaError(f"cannot read {str(path)!r}: {reason(error)}") from None
    with container:
        if set(container.format.name.split(",")) & TEXT_FORMATS:
            raise MediaError(f"cannot read {str(path)!r}: it is not a video but text")
        yield container


def check_file(path: Path) -> None:
    """Raise a MediaError unless `path` is a file with something in it that may be read."""
    try:
        if not path.is_file():
            raise MediaError(f"cannot read {str(path)!r}: it is not a file" if path.exists() else not_there(path))
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"cannot read {str(path)!r}: the file is empty")
    except OSError as error:
        raise MediaError(f"cannot read {str(path)!r}: {os.strerror(error.errno or 0)}") from None


def reason(error: Exception) -> str:
    """Say in few words what FFmpeg says."""
    if isinstance(error, av.error.InvalidDataError):
        return "it is damaged or not a video"
    said = str(getattr(error, "strerror", None) or error).strip()
    return said.splitlines()[0] if said else "it is damaged"


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """Return the video stream that FFmpeg holds to be the best one."""
    if container.format.name == "image2" or container.format.name.endswith("_pipe"):
        raise MediaError(f"cannot read {str(path)!r}: it is a single picture; give a video or a folder of pictures")
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        held = "only sound" if container.streams.audio else "no video stream"
        raise MediaError(f"cannot read {str(path)!r}: it holds {held}")
    if stream.codec_context is None:
        raise MediaError(f"cannot read {str(path)!r}: its video codec is unknown")
    return stream


def frame_rate(stream: VideoStream) -> Fraction:
    """Return the exact nominal rate: what FFmpeg guesses from container and codec, else the average.

    One frame alone has no rate: it is shown for one over the average.
    """
    rates = [stream.guessed_rate, stream.average_rate, stream.base_rate]
    rates = rates[1:] + rates[:1] if stream.frames == 1 else rates
    return next((Fraction(rate) for rate in rates if rate and rate > 0), DEFAULT_RATE)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Return how much wider than high pixels are shown, as stored; 1 where nothing is said."""
    told = stream.sample_aspect_ratio
    return Fraction(told) if told and told > 0 else Fraction(1)


def time_base(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Return the unit of the stream's timestamps in seconds; None where timestamps mean nothing."""
    if set(container.format.name.split(",")) & WITHOUT_TIMESTAMPS or stream.time_base is None:
        return None
    return Fraction(stream.time_base)


def duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration in seconds that the header claims."""
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


class PacketTable(NamedTuple):
    """Ascending timestamps of all frames that are shown, and of all key frames, in units of the time base."""

    timestamps: list[int]
    keys: list[int]
    leading: bool
    """Whether a frame is shown before the key frame that it follows in the file (open groups of pictures)."""

    def key_before(self, timestamp: int) -> int:
        """Return the last key frame at or before a timestamp, else the first one."""
        return self.keys[max(bisect_right(self.keys, timestamp) - 1, 0)]


def packets_tell(container: InputContainer, stream: VideoStream) -> bool:
    """Whether each packet is one frame that is shown at the packet's time."""
    counted = time_base(container, stream) is None
    return stream.codec_context.name not in HIDDEN_FRAMES and not (counted and stream.codec_context.has_b_frames)


def read_table(path: Path, first: int | None) -> PacketTable | None:
    """Read the table from the first decodable frame on; None where packets do not tell which frames will be shown."""
    shown: list[int] = []
    keys: list[int] = []
    leading = False
    try:
        with opened(path) as container:
            stream = video_stream(container, path)
            if not packets_tell(container, stream):
                return None
            counted = time_base(container, stream) is None
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                keys += [packet.pts] if packet.is_keyframe else []
                leading |= bool(keys) and packet.pts < keys[-1]
                shown += [] if packet.is_discard else [packet.pts]
    except (av.error.FFmpegError, OSError):
        return None
    if counted and shown != sorted(shown):  # they come in the order of the file, whatever is counted
        return None
    shown = [timestamp for timestamp in shown if first is None or timestamp >= first]
    trusted = bool(keys) and len(set(shown)) == len(shown) and (first is None or first in shown)
    return PacketTable(sorted(shown), sorted(keys), leading) if trusted else None
