"""Run the same command lines with two checkouts of vidcam, and compare what they explain, bit by bit."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cases import CASES, DATA, DEMO, find_sources
from comparing import TEXTS, Held, collect, compare

HERE = Path(__file__).parent
JOBS = 2
"""Processes at a time, of one thread each."""
FIXED = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}

Done = subprocess.CompletedProcess[str]


@dataclass
class Side:
    """One of the two checkouts, and what its runs have left."""

    checkout: Path
    folder: Path
    """Where its processes run; their results lie in a folder per case."""
    done: dict[str, Done] = field(default_factory=dict)

    def python(self, *arguments: str) -> Done:
        """Run Python with the checkout's vidcam before any installed one."""
        environment = {**os.environ, **FIXED, "PYTHONPATH": str(self.checkout)}
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment)

    def run(self, name: str, sources: dict[str, Path]) -> None:
        """Run the command line of a case."""
        arguments = CASES[name].arguments(sources)
        self.done[name] = self.python("-m", "vidcam", *arguments, "--json", "--output", name)

    def dump(self, names: Sequence[str] = ()) -> None:
        """Load every explanation with the checkout's own code; without any, only see to it that this code is found."""
        explained = [name for name in names if (self.folder / name / "explanation.npz").exists()]
        done = self.python(str(HERE / "dumping.py"), str(self.checkout), *explained)
        if done.returncode:
            raise SystemExit(f"the vidcam or the explanations of {self.folder.name} cannot be loaded:\n{done.stderr}")

    def held(self, name: str) -> Held:
        """Return everything that the case has left."""
        return collect(self.folder / name, self.done[name].stdout)

    def failed(self, name: str) -> str:
        """Return the last line that a failed command has said; empty where it did not fail."""
        done = self.done[name]
        said = done.stderr.strip().splitlines() or ["no message"]
        return f"{self.folder.name} exits with {done.returncode}: {said[-1]}" if done.returncode else ""


def main() -> int:
    """Run, print a line per case and difference, and write the results; return 1 if anything differs."""
    options, started = parse(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sides = make_sides(options, Path(folder))
        run_all(sides, options.cases, Path(folder, "sources"))
        with ThreadPoolExecutor(JOBS) as pool:
            rows = dict(zip(options.cases, pool.map(lambda name: row(name, *sides), options.cases), strict=True))
    for name, values in rows.items():
        report(name, values)
    same = sum(values["identical"] for values in rows.values())
    print(f"{same} of {len(rows)} cases are identical; {time.perf_counter() - started:.0f} s")
    if options.output is not None:
        write(options.output, sides, rows)
    return 0 if same == len(rows) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="checkout, a folder that holds a vidcam package")
    parser.add_argument("after", type=Path, help="the checkout to compare with it")
    parser.add_argument("--cases", type=chosen, default=list(CASES), metavar="NAME,NAME", help=", ".join(CASES))
    parser.add_argument("--output", type=Path, help="file of the results; default: results.json, if all cases run")
    options = parser.parse_args()
    if options.output is None and options.cases == list(CASES):
        options.output = HERE / "results.json"
    return options


def chosen(text: str) -> list[str]:
    """Return the cases that are named, in their usual order."""
    names = text.split(",")
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"no such case: {', '.join(sorted(unknown))}; possible: {', '.join(CASES)}")
    return [name for name in CASES if name in names]


def make_sides(options: argparse.Namespace, folder: Path) -> tuple[Side, Side]:
    """Make a folder for each side, and make sure that each runs its own checkout."""
    before = Side(options.before.resolve(), folder / "before")
    after = Side(options.after.resolve(), folder / "after")
    for side in (before, after):
        side.folder.mkdir()
        side.dump()
    return before, after


def run_all(sides: Sequence[Side], names: Sequence[str], folder: Path) -> None:
    """Run every case on both sides, then load what they have written; the demo's clip is that of the first side."""
    sources = find_sources(folder)
    with ThreadPoolExecutor(JOBS) as pool:
        if any(CASES[name].source in ("", DEMO) for name in names):
            list(pool.map(lambda side: side.run(DEMO, sources), sides))
            shutil.copy(sides[0].folder / DEMO / "clip.mp4", sources[DEMO])
        if missing := [CASES[name].source for name in names if not is_there(CASES[name].source, sources)]:
            raise SystemExit(f"no {', '.join(missing)} in {DATA}; VIDCAM_TEST_DATA names another folder")
        jobs = [(side, name) for name in names if name != DEMO for side in sides]
        list(pool.map(lambda job: job[0].run(job[1], sources), jobs))
        list(pool.map(lambda side: side.dump(names), sides))


def is_there(source: str, sources: dict[str, Path]) -> bool:
    """Tell whether a video exists, or a folder with something in it."""
    if not source:
        return True
    path = sources.get(source)
    return path is not None and (any(path.iterdir()) if path.is_dir() else path.exists())


def row(name: str, before: Side, after: Side) -> dict[str, Any]:
    """Compare what both sides have left of a case."""
    failed = [said for said in (before.failed(name), after.failed(name)) if said]
    found = {"run": "; ".join(failed)} if failed else compare(before.held(name), after.held(name))
    texts = {text: said for text in TEXTS if (said := found.pop(text, ""))}
    differences = {attribute: said for attribute, said in found.items() if said}
    case = CASES[name]
    return {
        "command": " ".join(filter(None, (case.command, case.source, case.options))),
        "identical": not differences,
        "attributes": [attribute for attribute in found if attribute not in differences],
        "differences": differences,
        "texts_differ": texts,
    }


def report(name: str, values: dict[str, Any]) -> None:
    """Print what is identical, and a line for whatever differs."""
    print(f"{name}: identical: {', '.join(values['attributes']) or 'nothing'}")
    for attribute, said in values["differences"].items():
        print(f"{name}: {attribute} DIFFERS: {said}")
    for text, said in values["texts_differ"].items():
        print(f"{name}: {text} differ, which is no failure: {said}")


def write(path: Path, sides: Sequence[Side], rows: dict[str, dict[str, Any]]) -> None:
    """Write a line per case."""
    lines = [f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in rows.items()]
    head = [f" {json.dumps(side.folder.name)}: {json.dumps(version(side.checkout))}," for side in sides]
    identical = all(values["identical"] for values in rows.values())
    head.append(f' "identical": {json.dumps(identical)},')
    path.write_text("\n".join(["{", *head, ' "cases": {', ",\n".join(lines), " }", "}"]) + "\n")


def version(checkout: Path) -> str:
    """Return the commit of a checkout, with a mark where files were changed."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
