"""What every report of a training has: its facts as JSON, and its pictures."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidcam.media import replacing

REPORT = "report.json"


@dataclass(frozen=True)
class RunReport(ABC):
    """The facts of a report are its fields."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return asdict(self)

    @abstractmethod
    def pictures(self) -> Mapping[str, Callable[[Path], None]]:
        """Return what draws each of its pictures, by the file's name."""

    def write(self, folder: str | Path) -> list[Path]:
        """Write `report.json` and the pictures, in the place of older ones."""
        text = json.dumps(self.as_dict(), indent=1) + "\n"
        written = {REPORT: lambda path: path.write_text(text, encoding="utf-8"), **self.pictures()}
        for name, write in written.items():
            with replacing(Path(folder) / name, force=True) as part:
                write(part)
        return [Path(folder) / name for name in written]
