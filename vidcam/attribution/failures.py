"""Failures of a device, which say nothing of what the network was given."""

import re

import torch

FULL = re.compile(r"out of memory|allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
SAID = re.compile(rf"{FULL.pattern}|(CUDA|HIP|cuDNN|MPS|NCCL) error|(CUDNN|CUBLAS)_|device-side", re.IGNORECASE)
KINDS = (torch.cuda.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.cuda.OutOfMemoryError))


def of_device(error: Exception) -> bool:
    """Tell whether the device failed, as where its memory is full, and not the network at what it was given.

    torch raises a RuntimeError for both.
    """
    return isinstance(error, KINDS) or (isinstance(error, RuntimeError) and SAID.search(str(error)) is not None)


def of_memory(error: Exception) -> bool:
    """Tell whether a device, or the computer, had no memory left."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and FULL.search(str(error)) is not None
    )
