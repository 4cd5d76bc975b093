"""Runs of training that are killed at random moments, or just while their resume point changes, and then resumed."""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

EPOCHS, PATIENCE_SECONDS = 3, 120


def kill_runs(package: Path, work: Path, count: int, seed: int) -> dict[str, Any]:
    """Kill runs, half by SIGKILL and half by SIGTERM, and count what was lost; TMPDIR is on another file system."""
    away = Path("/dev/shm") if Path("/dev/shm").is_dir() else work
    os.environ["TMPDIR"] = str(away)
    sys.path.insert(0, str(package))
    import torch

    torch.set_num_threads(1)
    rng, counts, manifest = random.Random(seed), Counter[str](), _videos(work / "clips")
    begun = time.monotonic()
    _finish(_train(manifest, work / "whole", work))
    whole, lasting = torch.load(work / "whole" / "last.ckpt", weights_only=True), time.monotonic() - begun
    for number in range(count):
        (work / "kills.json").write_text(json.dumps({"kills": number, **counts}))  # a campaign may be cut short
        output, sent = work / f"killed{number}", (signal.SIGKILL, signal.SIGTERM)[number % 2]
        process = _train(manifest, output, work)
        while_writing = number % 4 < 2
        _wait(process, output / "last.ckpt", None if while_writing else rng.random() * lasting)
        os.kill(process, sent)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        counts[f"{sent.name} ended with {code}"] += 1
        counts["left something half-written"] += sent == signal.SIGTERM and any(
            "part" in path.name for path in output.glob(".*")
        )
        last = output / "last.ckpt"
        counts["killed with a resume point"] += last.exists()
        try:
            if last.exists():
                torch.load(last, weights_only=True)
        except Exception:
            counts["resume points lost"] += 1
            continue
        again = _finish(_train(manifest, output, work, "--resume"))
        counts["not resumed"] += again != 0
        if again == 0:
            told = torch.load(last, weights_only=True)["state_dict"]
            same = all(torch.equal(told[key], value) for key, value in whole["state_dict"].items())
            counts["resumed to the same weights" if same else "resumed to other weights"] += 1
            counts["leftovers after the resumed run"] += any("part" in path.name for path in output.glob(".*"))
    return {"kills": count, **counts}


def _train(manifest: Path, output: Path, work: Path, *more: str) -> int:
    """Fork a process that trains; return its number."""
    process = os.fork()
    if process:
        return process
    silent = os.open(work / "kills.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(silent, 1), os.dup2(silent, 2)
    from vidcam.__main__ import main

    network = ["--model", "r2plus1d_mini", "--option", "frames=8", "--option", "size=[24,32]", "--batch", "2"]
    how = ["--epochs", str(EPOCHS), "--save-every", "1", "--logger", "none", "--accelerator", "cpu"]
    os._exit(main(["train", str(manifest), *network, *how, "--output", str(output), *more]))


def _wait(process: int, last: Path, seconds: float | None) -> None:
    """Wait some time, or until the resume point, which is there, changes; or until the process is about to end."""
    begun, before = time.monotonic(), None
    while time.monotonic() - begun < (PATIENCE_SECONDS if seconds is None else seconds):
        now = _state(last) if seconds is None else None
        if before is not None and now != before:
            return
        before = now if now is not None else before
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.01 if seconds is not None else 0)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _finish(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _videos(folder: Path) -> Path:
    """Write ten short clips of two motions, and their manifest."""
    from vidcam.data.manifest import Row, write_manifest
    from vidcam.data.synthetic import MOTIONS, motion_clip
    from vidcam.media import VideoWriter

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(10):
        clip, path = motion_clip(i, label=i % 2, frames=16, width=64, height=48), folder / f"{i}.mp4"
        with VideoWriter(path, width=64, height=48, rate=Fraction(30), force=True) as writer:
            for pixels in clip.pixels:
                writer.write(pixels)
        rows.append(Row(path, MOTIONS[i % 2], ("train", "train", "train", "validation", "test")[i // 2]))
    write_manifest(rows, folder / "manifest.csv", force=True)
    return folder / "manifest.csv"


if __name__ == "__main__":
    print(json.dumps(kill_runs(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), 0), indent=1))
