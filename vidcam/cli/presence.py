"""What a command reads must be there: noticed before anything is imported or downloaded for it."""

import os
from collections.abc import Sequence
from pathlib import Path

from vidcam.errors import MediaError, not_there

Given = str | Path | None


def check_there(*files: Given) -> None:
    """Raise a MediaError if one of the files or folders that were given is not there."""
    for file in files:
        if file is not None and not os.path.exists(file):
            raise MediaError(not_there(file))


def check_any_there(files: Sequence[str]) -> None:
    """Raise a MediaError if none of several is there."""
    if not any(map(os.path.exists, files)):
        others = f" (nor any of {len(files) - 1} others)" if len(files) > 1 else ""
        raise MediaError(f"{not_there(files[0])}{others}")
