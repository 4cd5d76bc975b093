"""Measure what one Grad-CAM costs, in time and peak memory, over a plain forward: vidcam and three peers."""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

MODELS = ("r2plus1d_18", "r3d_18")
LAYER, TARGET = "layer4", 7
MIB = 2**20


def plain(net: nn.Module) -> Callable[[Tensor], Any]:
    def forward(x: Tensor) -> Tensor:
        with torch.no_grad():
            return net(x)

    return forward


def vidcam(net: nn.Module) -> Callable[[Tensor], Any]:
    from vidcam.attribution.methods import cam

    return lambda x: cam(net, x, layer=LAYER, target=TARGET)


def captum(net: nn.Module) -> Callable[[Tensor], Any]:
    from captum.attr import LayerGradCam

    explainer = LayerGradCam(net, net.get_submodule(LAYER))
    return lambda x: explainer.attribute(x, target=TARGET, relu_attributions=True)


def torch_cam(net: nn.Module) -> Callable[[Tensor], Any]:
    from torchcam.methods import GradCAM

    def explain(x: Tensor) -> Any:
        with GradCAM(net, LAYER, input_shape=tuple(x.shape[1:])) as explainer:
            return explainer([TARGET] * len(x), net(x))

    return explain


def pytorch_grad_cam(net: nn.Module) -> Callable[[Tensor], Any]:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    explainer = GradCAM(net, [net.get_submodule(LAYER)])
    return lambda x: explainer(x, targets=[ClassifierOutputTarget(TARGET)] * len(x))


TOOLS = {"plain": plain, "vidcam": vidcam, "captum": captum, "torch-cam": torch_cam, "grad-cam": pytorch_grad_cam}


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps(measure(options)))
        return
    cases = [(model, batch) for model in options.models for batch in options.batches]
    results = {
        "setting": setting(options),
        "cases": [case(options, model, batch) for model, batch in cases],
    }
    options.output.write_text(json.dumps(results, indent=1) + "\n")


def case(options: argparse.Namespace, model: str, batch: int) -> dict[str, Any]:
    """Interleave the tools, so that whatever else the machine does falls on all of them alike."""
    seconds: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    memory: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    for _ in range(options.processes):
        for tool in TOOLS:
            memory[tool].append(fresh(options, model, batch, tool)["peak_mib"])
    for _ in range(options.rounds):
        for tool, found in fresh(options, model, batch, "all")["seconds"].items():
            seconds[tool] += found
    rows = {tool: row(tool, seconds, memory) for tool in TOOLS}
    for tool, numbers in rows.items():
        print(f"{model} batch {batch} {tool}: {numbers}", file=sys.stderr)
    return {"model": model, "batch": batch, "tools": rows}


def row(tool: str, seconds: dict[str, list[float]], memory: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and the ratio to the plain forward: of each call to the plain one beside it, then the median."""
    times = [mine / plain for mine, plain in zip(seconds[tool], seconds["plain"], strict=True)]
    peak = statistics.median(memory[tool])
    return {
        "seconds": round(statistics.median(seconds[tool]), 4),
        "time_ratio": round(statistics.median(times), 3),
        "time_ratio_quartiles": [round(q, 3) for q in statistics.quantiles(times, n=4)[::2]],
        "peak_mib": round(peak, 1),
        "peak_mib_range": [round(min(memory[tool]), 1), round(max(memory[tool]), 1)],
        "memory_ratio": round(peak / statistics.median(memory["plain"]), 3),
    }


def fresh(options: argparse.Namespace, model: str, batch: int, tool: str) -> dict[str, Any]:
    """Measure in a process of its own: peak memory never goes down again in an old one."""
    command = [sys.executable, __file__, "--measure", tool, "--models", model, "--batches", str(batch)]
    command += ["--threads", str(options.threads), "--device", options.device, "--calls", str(options.calls)]
    command += ["--output", str(options.output)]
    # large blocks are mapped, so that what is freed goes back and the peak is what was in use at once
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment = environment if tool != "all" else dict(os.environ)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    device = torch.device(options.device)
    net = getattr(torchvision.models.video, options.models[0])(weights=None).eval().to(device)
    x = torch.randn(options.batches[0], 3, 16, 112, 112).to(device)
    if options.measure == "all":
        return {"seconds": times(net, x, options.calls)}
    explain = TOOLS[options.measure](net)
    # threads and kernels that the first call of all sets up are no tool's own
    explain(torch.randn(1, 3, 8, 32, 32).to(device))
    gc.collect()
    return {"peak_mib": peak(lambda: explain(x), device) / MIB}


def times(net: nn.Module, x: Tensor, calls: int) -> dict[str, list[float]]:
    """Time one call of every tool in turn, each with its own hooks on the network and no other's."""
    seconds: dict[str, list[float]] = {tool: [] for tool in TOOLS}
    for number in range(calls + 1):
        for tool, make in TOOLS.items():
            hooks = {module: module._forward_hooks.copy() for module in net.modules()}
            explain = make(net)
            start = now(x.device)
            explain(x)
            taken = now(x.device) - start
            for module, found in hooks.items():  # one of the tools leaves its hooks until it is collected
                module._forward_hooks = found
            net.requires_grad_(True).zero_grad(set_to_none=True)
            del explain
            gc.collect()
            if number:  # the first round warms up
                seconds[tool].append(taken)
    return seconds


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak(call: Callable[[], Any], device: torch.device) -> float:
    """Bytes above what was in use before the call, at most, during it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew from here
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def setting(options: argparse.Namespace) -> dict[str, Any]:
    packages = ("torch", "torchvision", "captum", "torchcam", "grad-cam")
    device = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
    return {
        "layer": LAYER,
        "input": "16x112x112",
        "device": device,
        "threads": options.threads,
        "calls": options.calls * options.rounds,
        "memory_processes": options.processes,
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {name: version(name) for name in packages},
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=3, help="timed calls per tool and process")
    parser.add_argument("--rounds", type=int, default=3, help="processes for time")
    parser.add_argument("--processes", type=int, default=3, help="processes per tool for memory")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    parser.add_argument("--measure", choices=(*TOOLS, "all"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
