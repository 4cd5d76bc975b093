"""Campaigns of mutated inputs against the functions that read them, and of killed runs; see README.md."""

import argparse
import collections
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KINDS = ("text", "npz", "checkpoints", "pictures", "videos", "options", "layouts", "commands", "drives", "recipes")
SILENT_SECONDS, MEMORY = 300, 24 * 2**30


class Hung(BaseException):
    """An input took longer than the limit; no `except Exception` catches it."""


def main() -> None:
    """Run every campaign in processes of its own, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path, help="the folder that holds the package vidcam")
    parser.add_argument("--count", type=int, default=200, help="inputs per kind")
    parser.add_argument("--kills", type=int, default=0, help="killed runs of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=20, help="seconds after which an input hangs")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--work", type=Path, default=Path("robustness-work"))
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "FIRST"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    sys.path[:0] = [str(given.package.resolve()), str(HERE)]
    if given.child:
        campaign(given.child[0], int(given.child[1]), given)
        return
    facts: dict[str, Any] = {"seed": given.seed, "kinds": {kind: watched(kind, given) for kind in given.kinds}}
    if given.kills:
        from kills import kill_runs

        facts["kills"] = kill_runs(given.package.resolve(), given.work, given.kills, given.seed)
    given.output.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts, indent=1))


def watched(kind: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run a campaign's process, and begin another behind the input at which one died or stood still."""
    log, counts = given.work / f"{kind}.jsonl", collections.Counter[str]()
    places: collections.Counter[str] = collections.Counter()
    log.unlink(missing_ok=True)
    while (done := len(log.read_text().splitlines()) if log.exists() else 0) < given.count:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", kind, str(done)]
        environment = os.environ | {"PYTHONPATH": str(given.package.resolve()), "OMP_NUM_THREADS": "1"}
        with (given.work / f"{kind}.err").open("ab") as errors:
            process = subprocess.Popen(command, env=environment, stdout=errors, stderr=errors)
            seen, since = done, time.monotonic()
            while process.poll() is None and time.monotonic() - since < SILENT_SECONDS:
                time.sleep(0.5)
                now = len(log.read_text().splitlines()) if log.exists() else 0
                seen, since = (now, time.monotonic()) if now != seen else (seen, since)
            fell = "hang" if process.poll() is None else "crash"
            process.kill()
            code = process.wait()
        if code:
            with log.open("a") as file:
                file.write(json.dumps({"what": fell, "where": f"process ended with {code}"}) + "\n")
    for row in map(json.loads, log.read_text().splitlines()):
        counts[row["what"]] += 1
        places[row.get("where", "")] += 1
    del places[""]
    return {"inputs": given.count, **counts, "places": dict(places.most_common())}


def campaign(kind: str, first: int, given: argparse.Namespace) -> None:
    """Make, write and read the inputs from the first one on; a line for each."""
    import readers

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    folder = (given.work / kind).resolve()
    folder.mkdir(exist_ok=True)
    make, read = readers.KINDS[kind](folder)
    signal.signal(signal.SIGALRM, _hung)
    with (given.work / f"{kind}.jsonl").open("a", buffering=1) as log:
        for number in range(first, given.count):
            rng = random.Random(f"{given.seed} {kind} {number}")
            path = readers.put(folder, make(rng, number % 2 == 1))
            signal.alarm(given.limit)
            row = outcome(read, path)
            signal.alarm(0)
            log.write(json.dumps(row) + "\n")


def outcome(read: Any, path: Path) -> dict[str, str]:
    """Read one input, and tell what came of it."""
    from typer import Abort
    from typer.exceptions import Exit, TyperException

    from vidcam.errors import VidcamError

    try:
        wrong = read(path)
    except Hung as error:
        return {"what": "hang", "where": place(error)}
    except (VidcamError, OSError, TyperException, Exit, Abort) as error:
        return {"what": "refused" if "\n" not in str(error) else "several lines", "where": ""}
    except BaseException as error:
        return {"what": "traceback", "where": place(error)}
    return {"what": "nonsense accepted" if wrong else "accepted", "where": wrong or ""}


def place(error: BaseException) -> str:
    """Name the last line of the package that an exception went through."""
    import vidcam

    root = Path(vidcam.__file__).parent
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    at = f"{Path(frames[-1].filename).relative_to(root)}:{frames[-1].lineno}" if frames else "outside"
    return f"{at} {type(error).__name__}"


def _hung(*_: object) -> None:
    raise Hung


if __name__ == "__main__":
    main()
