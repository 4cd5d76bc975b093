"""Failures of a device, which say nothing of what the network was given."""

import re

import torch

SAID = re.compile(
    r"out of memory|allocate memory|not enough memory|(CUDA|HIP|cuDNN|MPS|NCCL) error|(CUDNN|CUBLAS)_|device-side",
    re.IGNORECASE,
)
KINDS = (torch.cuda.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.cuda.OutOfMemoryError))


def of_device(error: Exception) -> bool:
    """Tell whether the device failed, as where its memory is full, and not the network at what it was given.

    torch raises a RuntimeError for both.
    """
    return isinstance(error, KINDS) or (isinstance(error, RuntimeError) and SAID.search(str(error)) is not None)
