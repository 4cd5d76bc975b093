"""Write down what users hold of saved explanations, as the vidcam of one checkout loads them.

python dumping.py CHECKOUT FOLDER... writes held.npz beside each folder's explanation.npz. It imports nothing of the
experiment: the other side of the comparison may run another vidcam, and only numpy and JSON go between them.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import vidcam
from vidcam import Explanation

ATTRIBUTES = (
    "heat",
    "seconds",
    "rows",
    "columns",
    "spread",
    "region",
    "width",
    "height",
    "rate",
    "windows",
    "probabilities",
    "probability",
    "target",
    "target_name",
    "labels",
    "attention",
    "frame_scores",
    "duration_seconds",
    "is_flat",
    "maps",
    "gradients",
    "vanishing",
    "is_vanishing",
    "outputs",
    "values",
    "units",
    "signed",
    "poses",
    "true_poses",
    "depth",
    "notes",
    "provenance",
)


def main(checkout: str, *folders: str) -> None:
    """Make sure that the checkout's own vidcam runs, and write down what each folder's explanation holds."""
    found = Path(vidcam.__file__).resolve()
    assert found.is_relative_to(Path(checkout).resolve()), f"wanted the vidcam of {checkout}, got {found}"
    for folder in map(Path, folders):
        dump(dict(held(Explanation.load(folder / "explanation.npz"))), folder / "held.npz")


def held(explanation: Any) -> Iterator[tuple[str, Any]]:
    """Give every attribute that the explanation has, by its name."""
    for name in ATTRIBUTES:
        if (value := getattr(explanation, name, None)) is not None:
            yield name, value
    frames, hottest = len(explanation.heat), int(np.argmax(explanation.frame_scores))
    for name, frame in {"first": 0, "middle": frames // 2, "hottest": hottest}.items():
        yield f"dense({name})", explanation.dense(frame)
    if hasattr(explanation, "of") and not getattr(explanation, "classes", 0):
        yield from scores(explanation)


def scores(explanation: Any) -> Iterator[tuple[str, Any]]:
    """Give what a regression holds of every score, signed and not."""
    for name in explanation.labels:
        yield f"of({name}).heat", explanation.of(name, signed=False).heat
        yield f"of({name}, signed).heat", explanation.of(name, signed=True).heat
        yield f"of({name}).is_vanishing", explanation.of(name).is_vanishing


def dump(values: dict[str, Any], path: Path) -> None:
    """Write arrays as they are and everything else as JSON."""
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in values.items() if name not in arrays}
    with path.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts, default=str)), **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
