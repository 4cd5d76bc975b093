"""Report of a training of odometry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidcam.training.plots import draw_losses
from vidcam.training.report import RunReport

CURVES = "curves.png"


@dataclass(frozen=True)
class OdometryTraining(RunReport):
    """What was learned from and how well."""

    data: tuple[str, ...]
    drives: tuple[Mapping[str, Any], ...]
    """Those to learn from: name, frames, size of the source."""
    validation: str
    """How the frames that validate were chosen."""
    snippets: Mapping[str, int]
    """How many to learn from, and how many that validate."""
    left_out: Mapping[str, int]
    """Snippets that were left out, by the reason."""
    settings: Mapping[str, Any]
    history: tuple[Mapping[str, float], ...]
    """Per epoch the means of the loss and its terms, in training and in validation, and the steps so far."""
    best: Mapping[str, Any]
    """The epoch whose weights were kept, and the loss that it is lowest in."""
    odometry: tuple[Mapping[str, Any], ...] = ()
    """Per drive with true poses and per length of snippets: the mean ATE in meters over the snippets, and its standard
    deviation, of the network and of the baselines, which see no picture; see `vidcam.odometry.errors`."""

    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Return what draws `curves.png`."""
        terms = [
            name for name in ("photometric", "smoothness", "explainability") if any(row[name] for row in self.history)
        ]
        return {CURVES: partial(draw_losses, self.history, terms, self.best["epoch"])}
