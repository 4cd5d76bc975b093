"""What every stage is given: where it runs, how large, how long, and where its lines go."""

import gc
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Line = dict[str, Any]
Case = Iterator[Line]
"""Measurements that belong together, in the order in which they are made."""


@dataclass(frozen=True)
class Bench:
    """A stage's place, size and time."""

    device: str
    quick: bool
    """Whether to measure small things, only to see that all of it runs."""
    results: Path
    """A line of JSON per measurement."""
    began: float
    """When the run began, as `time.time` tells it."""
    deadline: float
    """Seconds after that at which the stage has to end."""

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def seconds(self) -> float:
        """Return how long the run has taken so far."""
        return time.time() - self.began

    @property
    def left(self) -> float:
        """Return the seconds that the stage still has."""
        return self.deadline - self.seconds

    def folder(self) -> Path:
        """Make a folder for what is needed in between; the run removes it."""
        return Path(tempfile.mkdtemp())

    def put(self, stage: str, line: Line) -> None:
        """Write a line at once: a run that is cut short keeps what it has."""
        text = json.dumps({"stage": stage, "at_s": round(self.seconds, 1), **line}, default=str)
        with self.results.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        print(text, flush=True)

    def perform(self, stage: str, cases: Callable[["Bench"], list[Case]]) -> None:
        """Write the lines of all cases; an exception is a line, too, and the next case goes on."""
        for case in cases(self):
            try:
                for line in case:
                    self.put(stage, line)
                    if self.left < 0:
                        self.put(stage, {"cut": "the stage's time is over"})
                        return
            except Exception as error:
                self.put(stage, failure(error))
            free(self)


def attempt(step: Callable[[], Line]) -> Line:
    """Do a step; what goes wrong is told by a line as well."""
    try:
        return step()
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> Line:
    first = str(error).strip().splitlines()[:1]
    return {"error": ": ".join([type(error).__name__, *first])[:300], "trace": traceback.format_exc()[-800:]}


def free(bench: Bench) -> None:
    """Give back what the last case held."""
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()
