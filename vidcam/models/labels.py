"""Labels: the names of the classes, from a file."""

import json
from pathlib import Path

from vidcam.errors import ModelError


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read class names from a text file with one per line, or from a JSON list, {index: name} or {name: index}."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        if path.suffix.lower() == ".json":
            return _from_json(text)
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    except (ValueError, RecursionError) as error:  # no UTF-8 or no JSON either, or nested without end
        why = "it is nested without end" if isinstance(error, RecursionError) else error
        raise ModelError(f"labels file {path} cannot be read: {why}") from None


def _from_json(text: str) -> tuple[str, ...]:
    loaded = json.loads(text)
    if isinstance(loaded, dict):
        named = {name: index for name, index in loaded.items() if isinstance(index, int)}
        by_index = {index: name for name, index in named.items()} if named else {int(k): v for k, v in loaded.items()}
        if sorted(by_index) != list(range(len(loaded))):
            raise ValueError(f"its {len(loaded)} classes need the indices 0 to {len(loaded) - 1}")
        loaded = [by_index[index] for index in range(len(loaded))]
    if not isinstance(loaded, list) or not all(isinstance(label, str | int) for label in loaded):
        raise ValueError("it needs a list of names, {index: name} or {name: index}")
    return tuple(str(label) for label in loaded)
