"""Frames at a network's rate, and windows of them, from a stream whose length nobody knows yet."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vidcam.errors import OptionError


class Timed(Protocol):
    """Anything with a time in seconds, such as a frame."""

    @property
    def seconds(self) -> float:
        """When it is shown."""


Item = TypeVar("Item")
TimedItem = TypeVar("TimedItem", bound=Timed)


def sample(frames: Iterable[TimedItem], rate: float | None) -> Iterator[TimedItem]:
    """Yield, for every tick of a clock that starts with the first frame, the frame nearest in time.

    A source slower than the clock has frames that come up several times. A tie takes the earlier frame. The clock
    stops half a frame, or half a tick, after the last frame, whichever is shorter. The rate is in ticks per second;
    None takes every frame once.
    """
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


def windows(samples: Iterable[Item], *, length: int, hop: int) -> Iterator[Window[Item]]:
    """Yield overlapping windows that together hold every sample; the last one ends with the last sample.

    A stream shorter than a window gives one window, padded by repeating its last sample.
    """
    if length < 1 or not 1 <= hop <= length:
        raise OptionError(f"windows of {length} samples need a hop of 1 to {length} samples; given {hop}")
    held: deque[Item] = deque(maxlen=length)
    count, covered = 0, 0
    for item in samples:
        held.append(item)
        count += 1
        if count >= length and (count - length) % hop == 0:
            yield Window(count - length, tuple(held))
            covered = count
    if 0 < count < length:
        yield Window(0, (*held, *[held[-1]] * (length - count)), padding=length - count)
    elif covered < count:
        yield Window(count - length, tuple(held))
