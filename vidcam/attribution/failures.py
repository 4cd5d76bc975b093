"""Failures: of a device, which say nothing of what the network was given, and of what the user wrote, in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidcam.errors import ModelError, VidcamError, printable

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


class NetworkError(ModelError):
    """A network failed at what it was given; the cause is its own exception."""


@contextmanager
def in_words(what: str, kind: type[VidcamError] = ModelError) -> Iterator[None]:
    """Raise what a user's network or function raises as an error of one line; the device's failures stay as they are.

    Args:
        what: fails, as "the network, given (1, 3, 16, 112, 112),".
        kind: of the error.
    """
    try:
        yield
    except VidcamError:
        raise
    except Exception as error:
        if of_device(error) or of_memory(error):
            raise
        raise kind(f"{what} fails: {said(error)}") from error


def said(error: Exception) -> str:
    """Say in one line what an exception says."""
    kind, lines = type(error).__name__, [line for line in str(error).splitlines() if line.strip()]
    return printable(f"{kind}: {lines[0].strip()}" if lines else kind)
