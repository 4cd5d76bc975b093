"""What threads share: networks, and the state of the process that a run changes for a while."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

_guard = Lock()
_locks: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _unlock_all() -> None:
    """Forget all locks in a forked process, where the threads that hold them are no more."""
    global _guard, _locks
    _guard, _locks = Lock(), WeakKeyDictionary()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_unlock_all)


@contextmanager
def alone(thing: Any) -> Iterator[None]:
    """Wait until no other thread is at work with a network or any of its modules, and let none in meanwhile.

    The same thread may come in again. Networks that share modules, as a wrapped one and itself, exclude each other.
    What is no network stands for itself.
    """
    parts = [*thing.modules()] if isinstance(thing, nn.Module) else [thing]
    with _guard:
        locks = {id(lock): lock for lock in (_locks.setdefault(part, RLock()) for part in parts)}
    with ExitStack() as held:
        for _, lock in sorted(locks.items()):  # all threads in the same order, so that no two wait for each other
            held.enter_context(lock)
        yield


class ProcessState:
    """State of the process that any number of threads may change for a while.

    The first that comes remembers it, and the last that goes puts it back.
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None], *, meanwhile: Any = None) -> None:
        self._read, self._write, self._meanwhile = read, write, meanwhile
        self._lock, self._inside = Lock(), 0
        self._before: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._read()
            if self._meanwhile is not None:
                self._write(self._meanwhile)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._write(self._before)


# not by `torch.backends.cudnn.flags`, which sets all other flags too, and fails where `fp32_precision` was set
without_cudnn = ProcessState(torch._C._get_cudnn_enabled, torch._C._set_cudnn_enabled, meanwhile=False)
without_nnpack = ProcessState(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, meanwhile=False)


@contextmanager
def recurrent_backward(net: nn.Module) -> Iterator[None]:
    """Let recurrent modules on a GPU choose kernels that have a backward in eval mode; cuDNN's have none.

    The kernel is chosen in the forward, so cuDNN is off during the recurrent modules' forward only.
    """
    inside: list[ExitStack] = []

    def off(*_: object) -> None:
        inside.append(ExitStack())
        inside[-1].enter_context(without_cudnn)

    def back(*_: object) -> None:
        inside.pop().close()

    try:
        with ExitStack() as hooks:
            for module in net.modules():
                if isinstance(module, nn.RNNBase) and any(weight.is_cuda for weight in module.parameters()):
                    hooks.enter_context(module.register_forward_pre_hook(off))
                    hooks.enter_context(module.register_forward_hook(back, always_call=True))
            yield
    finally:
        while inside:  # an exception came between the two hooks
            back()
