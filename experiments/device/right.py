"""Whether the device says what the CPU says: heat of the demo's network, and the tests that need a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from bench import Bench, Case, attempt
from material import motion

import vidcam

ROOT = Path(__file__).parents[2]


def cases(bench: Bench) -> list[Case]:
    return [_heat(bench), _tests(bench)]


def _heat(bench: Bench) -> Case:
    """Explain a clip on the CPU, and on the device twice; differences are shares of the greatest heat."""
    clip = motion(bench.folder(), 0, frames=48 if bench.quick else 128)
    expected = vidcam.explain(vidcam.load_model("demo"), clip)
    model = vidcam.load_model("demo", device=bench.device)
    for tf32 in (False, True):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            told, again = (vidcam.explain(model, clip) for _ in range(2))
        yield {
            "what": "heat of demo",
            "tf32": tf32,
            "target": told.target_name,
            "same_target": told.target == expected.target,
            "worst_difference": float(np.abs(told.heat - expected.heat).max() / expected.heat.max()),
            "repeatable": bool(np.array_equal(told.heat, again.heat)),
        }


def _tests(bench: Bench) -> Case:
    """Run the tests that need a GPU, of the files that have some."""
    if not bench.cuda:
        yield {"what": "pytest -m gpu", "skipped": "no CUDA device"}
        return
    files = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", *files]
    yield {"what": "pytest -m gpu", **attempt(lambda: _run(command, timeout=max(bench.left - 3, 10)))}


def _run(command: list[str], *, timeout: float) -> dict[str, object]:
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the machine's plugins warn, and warnings are errors
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, env=alone)
    lines = done.stdout.strip().splitlines()
    said = {"passed": done.returncode == 0, "says": lines[-1] if lines else done.stderr[-300:]}
    return said if done.returncode == 0 else {**said, "trace": (done.stdout + done.stderr)[-3000:]}
