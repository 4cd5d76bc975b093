"""DeletionReport: how far a regressor's answer moved when parts of the picture were erased."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vidcam.errors import OptionError, unknown
from vidcam.metrics.bootstrap import draw, mean_with_interval
from vidcam.types import Floats

ORDERS = {
    "hottest": "the cells with the most heat, of a signed map with the most of either sign",
    "coldest": "the cells with the least",
    "random": "cells drawn at random, a mean over the draws",
    "blocks": "one connected block at a random place, which may wrap around the border, a mean over the draws",
    "even": "cells spread evenly: what a uniform map gives",
    "center": "the cells nearest to the middle",
    "fixed": "the hottest cells of the mean map of all frames: what position alone gives",
}
"""What is erased, always the same number of cells."""


@dataclass(frozen=True)
class DeletionReport:
    """How far the output moves, per window, share of the picture that is erased, and order; in units of the task."""

    target: str
    """What the explanation explains."""
    fractions: tuple[float, ...]
    """(P,) shares of the cells that were asked for."""
    erased: tuple[int, ...]
    """(P,) numbers of cells that were erased."""
    cells: tuple[int, int]
    """Rows and columns of cells that the network's picture is cut into."""
    changes: Mapping[str, Mapping[str, Floats]]
    """Per measure and order (N, P): the change of every window."""
    starts: tuple[int, ...]
    """(N,) number of each window's first sample."""
    flat: int
    """Windows without heat: they have no order, and are left out."""
    draws: int
    seed: int
    resamples: int
    block: int

    @property
    def measures(self) -> tuple[str, ...]:
        """What was measured."""
        return tuple(self.changes)

    def mean(self, measure: str, order: str) -> Floats:
        """Return mean, low and high end of the 95 % interval over the windows, (3, P)."""
        return mean_with_interval(self._changes(measure, order), self._drawn)

    def difference(self, measure: str, other: str = "random", *, order: str = "hottest") -> Floats:
        """Return how much more one order moves the output than another, window by window: mean and interval (3, P)."""
        return mean_with_interval(self._changes(measure, order) - self._changes(measure, other), self._drawn)

    def _changes(self, measure: str, order: str) -> Floats:
        for kind, name, possible in (("measure", measure, self.changes), ("order", order, ORDERS)):
            if name not in possible:
                raise OptionError(unknown(kind, name, possible))
        return self.changes[measure][order]

    @property
    def _drawn(self) -> Any:
        return draw(len(self.starts), resamples=self.resamples, seed=self.seed, block=self.block)

    def as_dict(self) -> dict[str, Any]:
        """Return the means and intervals for JSON, and the paired differences of the hottest to each other order."""
        return {
            "target": self.target,
            "windows": len(self.starts),
            "flat_windows": self.flat,
            "cells": list(self.cells),
            "fractions": list(self.fractions),
            "erased_cells": list(self.erased),
            "draws": self.draws,
            "block": self.block,
            "changes": {m: {o: self.mean(m, o).T.tolist() for o in ORDERS} for m in self.measures},
            "hottest_minus": {
                m: {o: self.difference(m, o).T.tolist() for o in ORDERS if o != "hottest"} for m in self.measures
            },
        }

    def table(self, measure: str | None = None) -> str:
        """Return a table for people of one measure, the first by default: means with their 95 % intervals."""
        measure = self.measures[0] if measure is None else measure
        head = f"{measure}, {len(self.starts)} windows, explained: {self.target}"
        cut = f"{self.cells[0]}x{self.cells[1]} cells"
        lines = [head, f"{cut:16}" + "".join(f"{f'{share:.0%} erased':>28}" for share in self.fractions)]
        lines += [f"{order:16}" + _row(self.mean(measure, order)) for order in ORDERS]
        lines += [f"- {order:14}" + _row(self.difference(measure, order)) for order in ORDERS if order != "hottest"]
        lines[-len(ORDERS) + 1 : -len(ORDERS) + 1] = ["hottest, less that of"]
        return "\n".join([*lines, *([f"{self.flat} windows without heat are left out"] if self.flat else [])])


def _row(values: Floats) -> str:
    return "".join(f"{f'{mean:.4g} ({low:.4g} to {high:.4g})':>28}" for mean, low, high in values.T)
