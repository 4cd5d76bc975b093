"""A whole video: decoding, inference and explanation in frames per second, how busy the device is, and drawing."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench import Bench, Case, Line, attempt
from material import TARGET, panned, resnet
from price import answer
from timing import clock, peak
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import vidcam
from vidcam.explaining.windows import Stream
from vidcam.media import open_video
from vidcam.rendering.outputs import write_outputs

CLIPS = ((340, 256, 30), (1920, 1080, 20))
FIRST, OTHERS = 8, (1, 32)  # windows per forward


def cases(bench: Bench) -> list[Case]:
    clips = ((160, 120, 3),) if bench.quick else CLIPS
    return [_case(bench, *clip) for clip in clips]


def _case(bench: Bench, width: int, height: int, seconds: int) -> Case:
    path, model = panned(bench, width, height, seconds), resnet(bench)
    facts = {"video": f"{width}x{height}", "frames": _decode(path)}
    # of this method's heat something is always there to draw, also of random weights
    shown = vidcam.explain(model, path, target=TARGET, method="layer_cam")
    folder, batch = bench.folder(), FIRST
    steps: dict[str, Callable[[], Any]] = {
        "decode": lambda: _decode(path),
        "decode and preprocess": lambda: _windows(model, path, batch),
        "inference": lambda: _infer(model, path, batch),
        "explain": lambda: _explain(model, path, batch),
        "explain, when=None": lambda: _explain(model, path, batch, when=None),
        "draw overlay": lambda: vidcam.render(shown, folder / "overlay.mp4"),
        "write all outputs": lambda: write_outputs(shown, folder / "run", options={}),
    }
    for what, step in steps.items():
        yield {**facts, "what": what, "batch": batch, **attempt(partial(_speed, bench, step, facts["frames"]))}
    yield {**facts, "what": "explain", "batch": batch, **attempt(lambda: _busy(bench, model, path))}
    for batch in () if bench.quick else OTHERS:
        for what in ("inference", "explain"):
            told = attempt(partial(_speed, bench, steps[what], facts["frames"]))
            yield {**facts, "what": what, "batch": batch, **told}


def _speed(bench: Bench, step: Callable[[], Any], frames: int) -> Line:
    taken: list[float] = []
    memory = peak(bench, lambda: taken.append(clock(bench, step)))
    return {"seconds": round(taken[0], 3), "fps": round(frames / taken[0], 1), **memory}


def _decode(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video)


def _windows(model: vidcam.Model, path: Path, batch: int, see: Callable[[Any], Any] | None = None) -> None:
    """Go through the video as `explain` does, and let a network see its windows or not."""
    with open_video(path) as video:
        for group in Stream(video, model, None, batch, None):
            x = model.batch([[item.pixels for item in window.items] for window in group])
            if see is not None:
                see(x)


def _infer(model: vidcam.Model, path: Path, batch: int) -> None:
    _windows(model, path, batch, lambda x: answer(model, x).cpu())


def _explain(model: vidcam.Model, path: Path, batch: int, **how: Any) -> None:
    vidcam.explain(model, path, target=TARGET, batch=batch, **how)


def _busy(bench: Bench, model: vidcam.Model, path: Path) -> Line:
    """Return the time of all kernels and copies as a share of the time that the explanation takes unobserved."""
    if not bench.cuda:
        return {"skipped": "no CUDA device"}
    seconds = clock(bench, lambda: _explain(model, path, FIRST))
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        start = time.perf_counter()
        _explain(model, path, FIRST)
        torch.cuda.synchronize()
        observed = time.perf_counter() - start
    kernels = (event for event in seen.key_averages() if event.device_type == DeviceType.CUDA)  # not who launched them
    work = sum(event.self_device_time_total for event in kernels) / 1e6
    return {"busy_share": round(work / seconds, 3), "seconds": round(seconds, 3), "observed_s": round(observed, 3)}
