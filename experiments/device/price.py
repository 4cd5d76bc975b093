"""What an explanation costs against plain inference: vidcam's ways, the naive ways, and other tools that are there."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from bench import Bench, Case, Line, attempt
from material import Subject, resnet, subject
from peers import peers
from timing import Call, look, rounds, spread
from torch import Tensor

import vidcam
from vidcam.attribution.capturing import Captured, capture
from vidcam.attribution.containers import first_tensor
from vidcam.attribution.formulas import frame_contribution
from vidcam.attribution.layers import INPUT
from vidcam.attribution.methods import METHODS
from vidcam.attribution.question import Question
from vidcam.attribution.scores import probabilities

INFERENCE = "inference"
Load = Callable[[Bench], vidcam.Model]


def cases(bench: Bench) -> list[Case]:
    if bench.quick:
        return [case(bench, resnet, 1)]
    plain = [case(bench, resnet, batch) for batch in (8, 1, 32)]
    return [*plain, *(case(bench, resnet, 8, precision=precision) for precision in ("fp32", "bf16"))]


def case(bench: Bench, load: Load, batch: int, *, precision: str = "default", seconds: float = 12) -> Case:
    """Time all ways in turn; a way that fails is a line of its own, and the others go on."""
    about = subject(load(bench), batch)
    facts = {"model": about.model.name, "batch": batch, "precision": precision}
    calls, told = ways(about), {}
    with _precision(precision, bench):
        for way in list(calls):
            told[way] = attempt(partial(look, bench, calls[way]))
            if "error" in told[way]:
                yield {**facts, "way": way, **told[way]}
                del calls[way]
        if INFERENCE not in calls:  # there is nothing to compare with
            return
        times = rounds(bench, calls, most=3 if bench.quick else 30, seconds=seconds)
    for way in calls:
        yield {**facts, "way": way, **_row(times, way, batch), **told[way]}


def _row(times: dict[str, list[float]], way: str, batch: int) -> Line:
    """Return a way's time, and its ratio to the plain inference of the same round."""
    ratio = statistics.median(mine / plain for mine, plain in zip(times[way], times[INFERENCE], strict=True))
    speed = batch / statistics.median(times[way])
    return {"ratio": round(ratio, 3), **spread(times[way]), "clips_per_s": round(speed, 1)}


@contextmanager
def _precision(name: str, bench: Bench) -> Iterator[None]:
    kind = bench.device.partition(":")[0]
    low: AbstractContextManager[Any] = torch.autocast(kind, torch.bfloat16) if name == "bf16" else nullcontext()
    with low, torch.backends.cudnn.flags(enabled=True, allow_tf32=name != "fp32"):
        yield


def ways(about: Subject) -> dict[str, Call]:
    """Return what is timed, by name: inference first, all else is compared with it."""
    model, x, score = about.model, about.x, about.score
    made = {
        INFERENCE: lambda: infer(model, x),
        "inference, answer on host": lambda: answer(model, x).cpu(),
        "capture": lambda: capture(model.net, x, layers=[model.layer], scores=[score]),
        "heat": lambda: heat(about, None),
        f"heat, when={model.when}": lambda: heat(about, model.when),
        "capture input": lambda: capture(model.net, x, layers=[INPUT], scores=[score]),
        "naive, graph of all": lambda: naive(about, into_parameters=False),
        "naive, backward into all": lambda: naive(about, into_parameters=True),
        **(peers(model.net, x, model.layer) if model.layout == "b c t h w" else {}),
    }
    return {way: call for way, call in made.items() if way != "heat, when=None"}


def infer(model: vidcam.Model, x: Any) -> Any:
    with torch.inference_mode():
        return model.net(x)


def answer(model: vidcam.Model, x: Any) -> Tensor:
    """Return what a user wants of an inference: probabilities, or a regressor's first tensor."""
    output = infer(model, x)
    told = first_tensor(output) if model.scores else probabilities(output)
    assert told is not None
    return told


def heat(about: Subject, when: str | None, *, signed: bool = False) -> list[Tensor]:
    """Do what `vidcam.explain` does of some windows: return heat, and what an earlier layer adds, on the host."""
    layers = [about.model.layer] + ([when] if when else [])
    captured = capture(about.model.net, about.x, layers=layers, scores=[about.score])
    told = [METHODS["grad_cam"].heat(ask(about, captured, about.model.layer), signed=signed)]
    if when:
        early = ask(about, captured, when)
        told.append(frame_contribution(early.activations, early.gradients))
    return [part.cpu() for part in told]


def ask(about: Subject, captured: Captured, layer: str) -> Question:
    model, shape = about.model, captured.activations[layer].shape
    grid: Any = captured.grids.get(layer) or model.grid
    layout = model.layout_of(layer, shape, about.x, captured.grids.get(layer))
    return Question(model.net, about.x, layer, about.score, captured, layout=layout, grid=grid)


def naive(about: Subject, *, into_parameters: bool) -> Tensor:
    """Record a graph of the whole network with a hook on the layer, and go back as far as the layer, or through all."""
    net, kept = about.model.net, []
    hook = net.get_submodule(about.model.layer).register_forward_hook(lambda *told: kept.append(first_tensor(told[2])))
    try:
        value = about.score(net(about.x)).sum()
    finally:
        hook.remove()
    if not into_parameters:
        return torch.autograd.grad(value, kept)[0].cpu()
    kept[0].retain_grad()
    value.backward()
    net.zero_grad(set_to_none=True)
    return kept[0].grad.cpu()
