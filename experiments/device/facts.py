"""The machine and its software."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch
from bench import Bench, Case, Line

PACKAGES = ("vidcam", "torch", "torchvision", "numpy", "av", "lightning", "captum", "torchcam", "grad-cam")


def cases(bench: Bench) -> list[Case]:
    return [_facts(bench)]


def _facts(bench: Bench) -> Case:
    yield {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cpu_cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "quick": bench.quick,
        **(_device() if bench.cuda else {"device": f"CPU, {platform.machine()}"}),
    }


def _device() -> Line:
    facts = torch.cuda.get_device_properties(0)
    return {
        "device": facts.name,
        "memory_gib": round(facts.total_memory / 2**30, 1),
        "multiprocessors": facts.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
