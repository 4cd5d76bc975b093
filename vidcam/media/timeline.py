"""From a container's timestamps to seconds that always increase, and from seconds to the timestamps of a new file."""

from fractions import Fraction
from math import ceil, isfinite

FINEST_SECONDS = Fraction(1, 90_000)
SNAP_SECONDS = Fraction(1, 1000)  # containers that count in milliseconds move a frame by up to this


def moment(seconds: float, digits: int = 3) -> str:
    """Write a time so that neighboring frames differ, however late they are, as 34,200.12."""
    return f"{seconds:,.{digits}f}".rstrip("0").removesuffix(".") if isfinite(seconds) else str(seconds)


class Clock:
    """Turn the timestamps of successive frames into strictly increasing seconds, which count from the first frame.

    A timestamp later than the previous frame's is kept as it is. A missing or earlier one becomes the previous
    frame's time plus one frame duration. Without a time base all frames are at index / rate.
    """

    def __init__(self, rate: Fraction, time_base: Fraction | None) -> None:
        self._step = 1 / rate
        self._time_base = time_base
        self._now: Fraction | None = None
        self._origin: Fraction | None = None

    def tick(self, timestamp: int | None) -> float:
        """Return the seconds of the next frame, given its timestamp in units of the time base."""
        due = Fraction(0) if self._now is None else self._now + self._step
        told = None if timestamp is None or self._time_base is None else self._since_origin(timestamp, due)
        self._now = told if told is not None and (self._now is None or told > self._now) else due
        return float(self._now)

    def _since_origin(self, timestamp: int, due: Fraction) -> Fraction:
        assert self._time_base is not None
        told = timestamp * self._time_base
        self._origin = told - due if self._origin is None else self._origin
        return told - self._origin


class Timeline:
    """Give each frame an ascending timestamp: on the grid of the constant rate where it agrees with it.

    The time base divides 1 / rate exactly and is at least as fine as 1/90000 s, so that a constant rate such as
    30000/1001 stays exact and any other time is off by at most 6 microseconds.
    """

    def __init__(self, rate: Fraction, *, time_base: Fraction | None = None, from_zero: bool = False) -> None:
        self._rate = rate
        self._from_zero = from_zero
        finer = max(1, ceil(1 / (rate.numerator * FINEST_SECONDS)))
        self.time_base = time_base or Fraction(1, rate.numerator * finer)
        self._first: Fraction | None = None
        self._last: int | None = None

    def place(self, seconds: float | None) -> int | None:
        """Return a frame's timestamp in units of the time base; None if the frame before it has the same.

        Without `seconds` a frame follows the one before it after one frame duration.
        """
        exact = self._next() if seconds is None else self._snap(Fraction(seconds))
        if self._first is None:
            self._first = exact
        timestamp = round((exact - self._offset()) / self.time_base)
        if self._last is not None and timestamp <= self._last:
            return None
        self._last, self._time = timestamp, exact
        return timestamp

    @property
    def step(self) -> int:
        """The last frame's duration in units of the time base, if it ends where the next one would begin."""
        end = round((self._time + 1 / self._rate - self._offset()) / self.time_base)
        return max(1, end - (self._last or 0))

    def _offset(self) -> Fraction:
        return self._first if self._from_zero and self._first is not None else Fraction(0)

    def _next(self) -> Fraction:
        return Fraction(0) if self._first is None else self._time + 1 / self._rate

    def _snap(self, seconds: Fraction) -> Fraction:
        if self._first is None:
            return Fraction(round(seconds / self.time_base)) * self.time_base
        grid = self._first + round((seconds - self._first) * self._rate) / self._rate
        return grid if abs(grid - seconds) <= min(SNAP_SECONDS, 1 / (4 * self._rate)) else seconds
