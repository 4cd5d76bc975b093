"""Measure what vidcam promises of a device, stage by stage; every measurement is written at once.

A stage runs in a process of its own, which is ended when its time is over: whatever happens in one, the next begins.
"""

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from bench import Bench

HERE = Path(__file__).parent
# seconds from the start at which a stage has to end; what comes first tells the most
STAGES = {"facts": 30, "right": 110, "price": 220, "pipeline": 320, "models": 390, "training": 505}
GRACE = 10  # seconds for the measurement that is on its way


def main() -> None:
    given = parse()
    given.output.mkdir(parents=True, exist_ok=True)
    results = given.output / "results.jsonl"
    results.unlink(missing_ok=True)
    tempfile.tempdir = tempfile.mkdtemp()
    try:
        bench = Bench(given.device, given.quick, results, time.time(), 0)
        for stage in given.stages:
            run(stage, replace(bench, deadline=STAGES[stage]))
        bench.put("end", {"stages": len(given.stages)})
    finally:
        shutil.rmtree(tempfile.tempdir, ignore_errors=True)


def run(stage: str, bench: Bench) -> None:
    """Run a stage; end it if it does not end by itself, and tell if it died."""
    if bench.left < 0:
        bench.put(stage, {"cut": "no time was left"})
        return
    # forking is quick, but not where CUDA might have been touched
    context = multiprocessing.get_context("spawn" if bench.cuda else "fork")
    process = context.Process(target=perform, args=(stage, bench, tempfile.tempdir))
    process.start()
    process.join(bench.left + GRACE)
    if process.is_alive():
        process.kill()
        process.join()
        bench.put(stage, {"cut": "the stage was ended: its time was over"})
    elif process.exitcode:
        bench.put(stage, {"error": f"the stage's process died with {process.exitcode}"})


def perform(stage: str, bench: Bench, folder: str) -> None:
    """Be the process of a stage."""
    tempfile.tempdir = folder
    try:
        cases = import_module(stage).cases
    except Exception as error:  # something is not installed
        bench.put(stage, {"error": f"{type(error).__name__}: {error}"})
        return
    bench.perform(stage, cases)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    folder = Path(os.environ.get("OUT") or HERE / "results")
    parser.add_argument("--output", type=Path, default=folder, help="folder for results.jsonl")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="small sizes: see only that it runs")
    parser.add_argument("--stages", type=_stages, default=list(STAGES), help=",".join(STAGES))
    return parser.parse_args()


def _stages(text: str) -> list[str]:
    chosen = text.split(",")
    if strange := [stage for stage in chosen if stage not in STAGES]:
        raise argparse.ArgumentTypeError(f"no stage {strange[0]!r}; possible: {', '.join(STAGES)}")
    return chosen


if __name__ == "__main__":
    main()
