"""From a container's timestamps to seconds that always increase."""

from fractions import Fraction

# An AVI stores no timestamps: FFmpeg counts packets instead, which goes wrong where a packet holds two frames.
WITHOUT_TIMESTAMPS = frozenset({"avi"})


class Clock:
    """Turn the timestamps of successive frames into strictly increasing seconds.

    A timestamp later than the previous frame's is kept as it is. A missing or earlier one becomes the previous
    frame's time plus one frame duration. Without a time base all frames are at index / rate.
    """

    def __init__(self, rate: Fraction, time_base: Fraction | None) -> None:
        self._step = 1 / rate
        self._time_base = time_base
        self._now: Fraction | None = None

    def tick(self, timestamp: int | None) -> float:
        """Return the seconds of the next frame, given its timestamp in units of the time base."""
        told = None if timestamp is None or self._time_base is None else timestamp * self._time_base
        if self._now is None:
            self._now = Fraction(0) if told is None else told
        else:
            self._now = told if told is not None and told > self._now else self._now + self._step
        return float(self._now)
