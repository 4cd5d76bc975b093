"""Report of a training of odometry."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidcam.media import replacing
from vidcam.training.plots import draw_losses

REPORT, CURVES = "report.json", "curves.png"


@dataclass(frozen=True)
class OdometryTraining:
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

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    def write(self, folder: str | Path) -> list[Path]:
        """Write `report.json` and `curves.png`, in the place of older ones."""
        paths = [Path(folder) / REPORT, Path(folder) / CURVES]
        with replacing(paths[0], force=True) as part:
            part.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        terms = [
            name for name in ("photometric", "smoothness", "explainability") if any(row[name] for row in self.history)
        ]
        with replacing(paths[1], force=True) as part:
            draw_losses(self.history, terms, self.best["epoch"], part)
        return paths
