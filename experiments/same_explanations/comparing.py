"""Read what a run has left behind, and compare two of them, bit by bit."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

TEXTS = ("notes", "provenance")
"""What may be said in other words: compared and reported, but no failure."""
PATHS = ("video", "outputs")
"""What in the printed JSON names files."""

Held = dict[str, Any]


def collect(folder: Path, printed: str) -> Held:
    """Return everything but paths that a run has left in its folder or printed, by name."""
    facts = json.loads(printed.splitlines()[-1])
    found: Held = {f"printed {name}": value for name, value in facts.items() if name not in PATHS}
    if (path := folder / "held.npz").exists():
        found |= read_dump(path)
    if (path := folder / "ranking.json").exists():
        found |= read_ranking(path)
    found.get("provenance", {}).pop("source", None)
    pictures = sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".png"))
    return found | {path.name: digest(path) for path in pictures}


def read_dump(path: Path) -> Held:
    """Read what dumping.py wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    facts: Held = json.loads(str(arrays.pop("facts")))
    return facts | arrays


def read_ranking(path: Path) -> Held:
    """Read a ranking.json, with the notes and the provenance under names of their own."""
    ranking = json.loads(path.read_text())
    explanation = ranking.pop("explanation")
    texts = {"notes": [*ranking.pop("notes"), *explanation.pop("notes")], "provenance": explanation.pop("provenance")}
    return {**ranking, **{f"explanation.{name}": value for name, value in explanation.items()}, **texts}


def digest(path: Path) -> str:
    """Return the digest of every decoded frame and its time, of a video or a picture."""
    found = sha256()
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24")
            found.update(f"{pixels.shape} {frame.time}".encode())
            found.update(pixels.tobytes())
    return found.hexdigest()


def compare(before: Held, after: Held) -> dict[str, str]:
    """Return, for every name that there was before, what differs, if anything; what is new is no change."""
    return {name: difference(value, after[name]) if name in after else "only before" for name, value in before.items()}


def difference(before: Any, after: Any) -> str:
    """Say how two values differ; empty where they do not."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return array_difference(before, after)
    if json.dumps(before, default=str) == json.dumps(after, default=str):
        return ""
    first, second = list(numbers(before)), list(numbers(after))
    if len(first) == len(second) and first != second:
        return array_difference(np.array(first), np.array(second))
    return " is now ".join(map(shortened, first_unlike(before, after)))


def first_unlike(before: Any, after: Any) -> tuple[Any, Any]:
    """Return the first two parts that differ, of lists as long or dictionaries with the same keys; or the whole."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = [(before[name], after[name]) for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = list(zip(before, after, strict=True))
    else:
        return before, after
    return next((first_unlike(*pair) for pair in pairs if pair[0] != pair[1]), (before, after))


def array_difference(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> str:
    """Say how two arrays of numbers differ in type, shape or value; NaN is equal to NaN."""
    first, second = (f"{array.dtype}{list(array.shape)}" for array in (before, after))
    if first != second:
        return f"{first} is now {second}"
    if np.array_equal(before, after, equal_nan=True):
        return ""
    apart = np.abs(before.astype(np.float64) - after.astype(np.float64))
    unlike = int((~((before == after) | (np.isnan(before) & np.isnan(after)))).sum())
    return f"largest difference {np.nanmax(apart, initial=0):.3g}, {unlike} of {before.size} values"


def numbers(value: Any) -> Iterator[float]:
    """Give all numbers in nested lists and dictionaries, in order."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)


def shortened(value: Any) -> str:
    """Return a value as a text that fits into a line."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
