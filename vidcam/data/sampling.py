"""Frames at a network's rate: windows of a stream whose length nobody knows yet, clips of a video that is known."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from math import inf
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vidcam.data.manifest import Row
from vidcam.errors import MediaError, OptionError
from vidcam.media import Frame, open_video
from vidcam.media.timeline import moment
from vidcam.types import Floats


class Timed(Protocol):
    """Anything with a time in seconds, such as a frame."""

    @property
    def seconds(self) -> float:
        """When it is shown."""


Numbers = npt.NDArray[np.intp]
Item = TypeVar("Item")
TimedItem = TypeVar("TimedItem", bound=Timed)


GAP_SECONDS = 1.0
"""Frames that lie closer than that are no gap, however short the window."""


def longest_step(frames: int, rate: float | None) -> float:
    """Return how many seconds may lie between frames before it is a gap: a window of `frames`, at least a second.

    Across a gap nothing can be said of motion. Without a rate frames count and not their times: nothing is a gap.
    """
    return inf if rate is None else max(frames / rate, GAP_SECONDS)


def stretches(items: Iterable[TimedItem], gap: float) -> Iterator[Iterator[TimedItem]]:
    """Cut where more than `gap` seconds lie between two items; read each stretch before asking for the next."""
    number, last = 0, -inf

    def place(item: TimedItem) -> int:
        nonlocal number, last
        number, last = number + (item.seconds - last > gap), item.seconds
        return number

    return (stretch for _, stretch in groupby(items, key=place))


def sample(frames: Iterable[TimedItem], rate: float | None, *, gap: float = inf) -> Iterator[TimedItem]:
    """Yield, for every tick of a clock that starts with the first frame, the frame nearest in time.

    A source slower than the clock has frames that come up several times. A tie takes the earlier frame. The clock
    stops half a frame, or half a tick, after the last frame, whichever is shorter. The rate is in ticks per second;
    None takes every frame once. After more than `gap` seconds without a frame the clock starts anew.
    """
    for stretch in stretches(frames, gap):
        yield from _ticks(stretch, rate)


def _ticks(frames: Iterable[TimedItem], rate: float | None) -> Iterator[TimedItem]:
    if rate is None:
        yield from frames
        return
    if not rate > 0:
        raise OptionError(f"the frame rate must be positive; given {rate}")
    stream = iter(frames)
    last = next(stream, None)
    if last is None:
        return
    start, tick, step = last.seconds, 0, 1 / rate
    for frame in stream:
        middle = (last.seconds + frame.seconds) / 2
        step = frame.seconds - last.seconds
        while start + tick / rate <= middle + 1e-9:
            yield last
            tick += 1
        last = frame
    while start + tick / rate <= last.seconds + min(step, 1 / rate) / 2 - 1e-9:
        yield last
        tick += 1


@dataclass(frozen=True)
class Window(Generic[Item]):
    """What one forward pass sees: `length` items, the last one repeated `padding` times."""

    start: int
    items: tuple[Item, ...]
    padding: int = 0


def windows(
    samples: Iterable[Item], *, length: int, hop: int, first: int = 0, apart: bool = False
) -> Iterator[Window[Item]]:
    """Yield overlapping windows that together hold every sample; the last one ends with the last sample.

    A stream shorter than a window gives one window, padded by repeating its last sample. So is the last one padded if
    it must stay `apart`, a whole hop behind the one before. `first` is the number of the first sample.
    """
    if length < 1 or not 1 <= hop <= length:
        raise OptionError(f"windows of {length} samples need a hop of 1 to {length} samples; given {hop}")
    held: deque[Item] = deque(maxlen=length)
    count, covered = 0, 0
    for item in samples:
        held.append(item)
        count += 1
        if count >= length and (count - length) % hop == 0:
            yield Window(first + count - length, tuple(held))
            covered = count
    if 0 < count < length:
        yield Window(first, (*held, *[held[-1]] * (length - count)), padding=length - count)
    elif covered < count and not apart:
        yield Window(first + count - length, tuple(held))
    elif covered < count:
        start = covered - length + hop
        own = tuple(held)[start - count :]
        yield Window(first + start, (*own, *[own[-1]] * (length - len(own))), padding=length - len(own))


SAMPLINGS = ("windows", "spread")
"""How a network looks at time: at frames that follow each other at a rate, or at some of the whole video."""
ROUNDING = 1.5e-3
"""Steps in time that differ by less are equal: some containers round to milliseconds."""


def spread(seconds: npt.ArrayLike, frames: int, shares: float | Floats = 0.5) -> list[int]:
    """Choose the frame that is shown in each of `frames` equal segments of a video's time, in ascending order.

    At a constant rate that is what TSN chooses by frames' numbers. A frame is shown until the next one is, but after
    `GAP_SECONDS` without one there is a gap, in which nothing is shown and which counts no longer. Of fewer frames than
    wanted some come several times.

    Args:
        seconds: (F,) when each of the video's frames is shown.
        frames: T, of one clip.
        shares: how far into its segment each moment lies, 0 to 1; (T,) or one for all.
    """
    steps = np.diff(np.asarray(seconds, float))
    steps = np.append(steps, steps[-1:] if len(steps) else GAP_SECONDS).clip(max=GAP_SECONDS)
    if np.ptp(steps) < ROUNDING:
        steps[:] = steps.mean()
    ends = np.cumsum(steps)
    moments = (np.arange(frames) + shares) / frames * ends[-1]
    chosen = np.searchsorted(ends, moments + 1e-6 * steps.mean(), side="right")
    return [int(index) for index in chosen.clip(max=len(ends) - 1)]


def share_of(clip: int, clips: int) -> float:
    """Return how far into its segments one of several clips looks, so that all interleave and together are even."""
    return (clip + 0.5) / clips


class Moment(NamedTuple):
    """A frame that is not decoded yet."""

    number: int
    seconds: float


class ClipSource:
    """A row's video and when its frames are shown.

    To find that out takes about as long as to decode a clip, so keep a source that is read again; no file stays open.

    Raises:
        MediaError: the video cannot be read, or has no frame between the row's start and end.
    """

    def __init__(self, row: Row, *, backend: str = "auto") -> None:
        self._video = open_video(row.path, backend=backend)
        seconds = np.array(self._video.times())
        start, end = (row.start_seconds or 0.0), (np.inf if row.end_seconds is None else row.end_seconds)
        inside = np.ones_like(seconds, bool) if row.start_seconds is None else seconds >= start
        inside &= seconds < end
        if not inside.any():
            raise MediaError(f"{str(row.path)!r} has no frame from {moment(start)} to {moment(end)} seconds")
        self._first = int(inside.argmax())
        self.seconds = seconds[inside]

    @property
    def ends(self) -> tuple[int, int]:
        """Index of the first and of the last frame."""
        return self._first, self._first + len(self.seconds) - 1

    @property
    def duration_seconds(self) -> float:
        """From the first frame to when the last one has been shown as long as the one before it."""
        if len(self.seconds) == 1:
            return float(1 / self._video.info.rate)
        return float(2 * self.seconds[-1] - self.seconds[-2] - self.seconds[0])

    def random(self, rng: np.random.Generator, frames: int, rate: float | None) -> list[int]:
        """Choose a clip that starts with any frame after which there is time for it."""
        parts = self._stretches(frames, rate)
        starts = np.cumsum([self._latest(part, frames, rate) + 1 for part in parts])
        pick = int(rng.integers(starts[-1]))
        part = int(np.searchsorted(starts, pick, side="right"))
        start = pick - int(starts[part - 1] if part else 0)
        return self._padded(islice(self._sampled(rate, parts[part][start:]), frames), frames)

    def uniform(self, clip: int, clips: int, frames: int, rate: float | None) -> list[int]:
        """Choose one of `clips` clips that are spread over the video on the clock of its first frame."""
        chosen = [list(self._sampled(rate, part)) for part in self._stretches(frames, rate)]
        starts = [(part, start) for part in chosen for start in range(max(len(part) - frames, 0) + 1)]
        spare = len(starts) - 1
        part, start = starts[round(spare / 2 if clips == 1 else spare * clip / (clips - 1))]
        return self._padded(iter(part[start : start + frames]), frames)

    def spread(self, frames: int, shares: float | Floats) -> list[int]:
        """Choose a clip that is spread over the whole video, see `spread`."""
        return [self._first + index for index in spread(self.seconds, frames, shares)]

    def read(self, indices: Sequence[int]) -> list[Frame]:
        """Decode the frames at ascending `indices`; one that is repeated comes once."""
        return self._video.frames_at(list(dict.fromkeys(indices)))

    def _stretches(self, frames: int, rate: float | None) -> list[Numbers]:
        """Return the numbers of the frames between gaps; frames that stand alone are left out if not all do."""
        gaps = np.flatnonzero(np.diff(self.seconds) > longest_step(frames, rate))
        parts = np.split(np.arange(len(self.seconds)), gaps + 1)
        return [part for part in parts if len(part) > 1] or parts

    def _latest(self, part: Numbers, frames: int, rate: float | None) -> int:
        """Return the last frame with which a whole clip can start."""
        if rate is None:
            return max(len(part) - frames, 0)
        seconds = self.seconds[part]
        step = min([*np.diff(seconds[-2:]), 1 / rate])  # as `sample` holds the last frame
        limit = seconds[-1] + step / 2 - 1e-9 - (frames - 1) / rate
        return max(bisect_right(seconds, limit) - 1, 0)

    def _sampled(self, rate: float | None, part: Numbers) -> Iterator[int]:
        moments = (Moment(int(number), float(self.seconds[number])) for number in part)
        return (self._first + moment.number for moment in sample(moments, rate))

    def _padded(self, chosen: Iterator[int], frames: int) -> list[int]:
        indices = list(chosen)
        return indices + indices[-1:] * (frames - len(indices))
