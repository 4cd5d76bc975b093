"""Number frames by their packets, so that a frame that the decoder loses keeps its number and its time."""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import av


class Numbering:
    """Tell which frames a decoder lost: those that were due before one that came out.

    Nothing is counted as lost where packets do not tell (`tells`, a packet without a time, frames out of order).

    Args:
        tells: whether a packet's time is that of a frame.
        known: ascending timestamps of all frames; if they are not given, packets tell them on the way.
    """

    def __init__(self, *, tells: bool, known: Sequence[int] = ()) -> None:
        self._tells, self._learns = tells, not known
        self._due = list(known)
        self._last: int | None = None
        self.packets = 0
        """How many whole ones there were, those included that are not shown."""
        self.lost = 0

    def expect(self, packet: "av.Packet[Any]") -> None:
        """Take note of a packet that goes into the decoder."""
        if packet.size == 0:
            return
        self.packets += not packet.is_corrupt
        if packet.pts is None:
            self._tells = False
        elif self._learns and not (packet.is_discard or packet.is_corrupt):
            heappush(self._due, packet.pts)

    def is_late(self, timestamp: int | None) -> bool:
        """Tell whether a frame comes after one that is shown later; after damage its place has been filled."""
        return self._tells and self._last is not None and timestamp is not None and timestamp < self._last

    def lost_before(self, timestamp: int | None) -> list[int]:
        """Return the timestamps that were due before a frame that came out; None stands for the next one."""
        self._tells &= not self.is_late(timestamp)
        if timestamp is None:
            timestamp = self._due[0] if self._due else self._last
        lost = self._pop(timestamp)
        if self._due and self._due[0] == timestamp:
            heappop(self._due)
        began, self._last = self._last is not None, timestamp
        return self._counted(lost if began else [])

    def lost_at_the_end(self) -> list[int]:
        """Return the timestamps that were due and never came out."""
        return self._counted(self._pop(None) if self._last is not None else [])

    def _counted(self, lost: list[int]) -> list[int]:
        lost = lost if self._tells else []
        self.lost += len(lost)
        return lost

    def _pop(self, until: int | None) -> list[int]:
        popped = []
        while self._due and (until is None or self._due[0] < until):
            popped.append(heappop(self._due))
        return popped
