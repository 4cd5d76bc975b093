"""When each frame is shown and where decoding can start, read from a file's packets without decoding them."""

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import av

from vidcam.media.source import opened, time_base, video_stream

# VP8 keeps frames that are never shown in packets of their own.
HIDDEN_FRAMES = frozenset({"vp8"})


class PacketTable(NamedTuple):
    """Ascending timestamps of all frames that are shown, and of all key frames, in units of the time base."""

    timestamps: list[int]
    keys: list[int]

    def key_before(self, timestamp: int) -> int:
        """Return the last key frame at or before a timestamp, else the first one."""
        return self.keys[max(bisect_right(self.keys, timestamp) - 1, 0)]


def read_table(path: Path) -> PacketTable | None:
    """Read the table; None where packets do not tell which frames will be shown and in which order."""
    shown: list[int] = []
    keys: list[int] = []
    try:
        with opened(path) as container:
            stream = video_stream(container, path)
            counted = time_base(container, stream) is None
            if stream.codec_context.name in HIDDEN_FRAMES or (counted and stream.codec_context.has_b_frames):
                return None
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                keys += [packet.pts] if packet.is_keyframe else []
                shown += [] if packet.is_discard else [packet.pts]
    except (av.error.FFmpegError, OSError):
        return None
    trusted = bool(shown) and bool(keys) and len(set(shown)) == len(shown)
    return PacketTable(sorted(shown), sorted(keys)) if trusted else None
