"""The other networks: their price, the same heat as on the CPU; geometry, memory that stays, and a lack of memory."""

import time
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import price
import torch
from bench import Bench, Case, Line, attempt, free
from material import Subject, motion, network, resnet, subject
from torch import Tensor

import vidcam
from vidcam.attribution.capturing import capture
from vidcam.attribution.receptive_field import measure_axes

NETWORKS = (("mvit_v2_s", 8), ("swin3d_t", 4), ("cnn_lstm_attention", 8), ("sfmlearner", 8), ("s3d", 1))
QUICK: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("cnn_lstm_attention", 1, {"frames": 3, "size": 64}),
    ("sfmlearner", 1, {"size": (128, 128)}),
)
CAPTURES = 50


def cases(bench: Bench) -> list[Case]:
    networks = QUICK if bench.quick else tuple((name, batch, {}) for name, batch in NETWORKS)
    loads = {name: partial(_load, name, how) for name, _, how in networks}
    prices = [price.case(bench, loads[name], batch, seconds=5) for name, batch, _ in networks]
    same = [_same(bench, load) for load in (resnet, *loads.values())]
    return [*prices, _memory(bench), _lack(bench), _geometry(bench), *same]


def _load(name: str, how: dict[str, Any], bench: Bench) -> vidcam.Model:
    return network(name, bench.device, **how)


def _same(bench: Bench, load: price.Load) -> Case:
    """Compare signed heat of random weights with the CPU's; the difference is a share of the greatest."""
    expected = _heat(subject(load(replace(bench, device="cpu")), 1))
    about = subject(load(bench), 1)
    for tf32 in (False, True):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            told = attempt(lambda: {"worst_difference": _apart(_heat(about), expected)})
        yield {"what": "heat as on the CPU", "model": about.model.name, "tf32": tf32, **told}


def _heat(about: Subject) -> Tensor:
    return price.heat(about, None, signed=True)[0]


def _apart(heat: Tensor, expected: Tensor) -> float:
    return float((heat - expected).abs().max() / expected.abs().max())


def _geometry(bench: Bench) -> Case:
    """Measure where layers look, which must be what is known."""
    model = network("r2plus1d_18", bench.device)
    clip = subject(model, 1).x
    for layer in ("stem",) if bench.quick else ("layer1", "layer3", "layer4"):
        start = time.perf_counter()
        measured = measure_axes(model.net, tuple(clip.shape[1:]), layer)
        seconds = round(time.perf_counter() - start, 2)
        yield {"what": "geometry", "layer": layer, "as_known": measured == model.axes[layer], "seconds": seconds}


def _memory(bench: Bench) -> Case:
    """Capture again and again: what is allocated afterwards must not grow."""
    about = subject(resnet(bench), 2 if bench.quick else 8)
    taken = []
    for _ in range(4 if bench.quick else CAPTURES):
        capture(about.model.net, about.x, layers=["layer3", "layer4"], scores=[about.score])
        taken.append(torch.cuda.memory_allocated() if bench.cuda else 0)
    yield {"what": "memory", "captures": len(taken), "grows_by_bytes": taken[-1] - taken[1]}


def _lack(bench: Bench) -> Case:
    """Explain with too little memory, and again with all of it."""
    if not bench.cuda:
        yield {"what": "lack of memory", "skipped": "no CUDA device"}
        return
    model, clip = resnet(bench), motion(bench.folder(), 0, frames=320)
    explain = partial(vidcam.explain, model, clip, target=0, batch=16, method="layer_cam")
    before = explain().heat
    free(bench)
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**26) / _whole())
    told = attempt(lambda: {"says": "explained nevertheless", "notes": explain().notes})
    torch.cuda.set_per_process_memory_fraction(1.0)
    free(bench)
    says = told.get("error") or told["says"]
    yield {"what": "lack of memory", "says": says, **attempt(lambda: _as_before(explain().heat, before))}


def _whole() -> int:
    return int(torch.cuda.get_device_properties(0).total_memory)


def _as_before(heat: Any, before: Any) -> Line:
    return {"works_after": True, "same_heat": bool(np.array_equal(heat, before))}
