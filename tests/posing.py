"""Tensors that pose as those of a GPU, on a CPU: what CUDA refuses fails here too, and what waits for it is counted.

    with posing() as device:
        model.to("cuda:0")
        ...
    assert device.total() <= 5, device

What mixes devices raises as CUDA does: an operation on tensors of both, but for a CPU's single number and for indices;
`numpy()`; a generator of the CPU's for numbers on the device. What computes is the CPU, but for fast paths
that it has for itself alone, as of recurrent networks.
Not posed: kernels, streams, and memory, pinned or not.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
WAITING = frozenset(
    [
        *("_local_scalar_dense", "equal", "allclose", "is_nonzero", "nonzero", "masked_select", "bincount"),
        *("_unique", "_unique2", "unique_dim", "unique_consecutive", "multinomial", "_linalg_check_errors"),
        *("linalg_svd", "_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_lstsq", "linalg_cholesky_ex"),
    ]
)
"""Operations whose result, or its shape, the host must know, so that it waits until the device has computed all."""
TAKING_A_NUMBER = frozenset(("fill", "fill_", "masked_fill", "masked_fill_", "index_fill", "index_fill_", "lerp"))
"""Operations, beside those for each element, that take a single number of the CPU's."""
INDEXING = frozenset(("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"))
"""Operations that take indices of the CPU's."""


class Device(Counter[str]):
    """How often the host waited for the device, by where in vidcam that was and by the operation."""

    def wait(self, what: str) -> None:
        """Count one."""
        self[f"{_where()} {what}"] += 1

    def __str__(self) -> str:
        return "\n".join(f"{times:5} {what}" for what, times in self.most_common())


WAITS = Device()


class Posing(Tensor):
    """A tensor of the device; `held` has its numbers."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "Posing":
        # autograd has a thread for each device but the CPU and this one
        told: dict[str, Any] = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        tensor: Posing = Tensor._make_wrapper_subclass(cls, held.shape, device="meta", **told)
        tensor.held = held
        return tensor

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_indices(index), value)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=DEVICE)

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it to host memory")

    def __array__(self, *_: Any) -> Any:
        return self.numpy()

    def __deepcopy__(self, memo: Any) -> Tensor:
        copied = self.detach().clone().requires_grad_(self.requires_grad)
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        WAITS.wait("pickled")
        return self.held.__reduce_ex__(protocol)

    def __format__(self, how: str) -> str:
        return format(self.item(), how) if how else repr(self)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Posing({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Dispatch(TorchDispatchMode):
    """Sees what makes tensors on the device from none, or from the CPU's."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation as the device would, or refuse it."""
    name, kwargs = func.overloadpacket.__name__, {**kwargs}
    leaves = tree_leaves((args, kwargs))
    posing = [leaf for leaf in leaves if isinstance(leaf, Posing)]
    plain = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, Posing)]
    assert not any(tensor.is_meta for tensor in plain), f"{name} of a tensor without numbers, {_where()}"
    asked = kwargs.get("device")
    there = bool(posing) if asked is None else torch.device(asked).type in ("cuda", "meta")
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    if posing and plain and _mixes(func, name, args, plain):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in plain)
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"({name} of {shapes} on the CPU, {_where()})"
        )
    if there and any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu', in {name}, {_where()}")
    if name.lstrip("_") == "pin_memory" and not posing:
        return args[0]
    _count(func, name, args, kwargs, posing, there)
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    same = {id(tensor.held): tensor for tensor in posing}
    return tree_map(lambda part: _posed(part, same) if there and isinstance(part, Tensor) else part, result)


def _mixes(func: Any, name: str, args: Sequence[Any], plain: Sequence[Tensor]) -> bool:
    """Tell whether CUDA would refuse that some tensors are the CPU's."""
    if name in INDEXING and isinstance(args[0], Posing):
        plain = [value for value in args[2:] if isinstance(value, Tensor) and not isinstance(value, Posing)]
    elif not (torch.Tag.pointwise in func.tags or name in TAKING_A_NUMBER):
        return name != "copy_"
    return any(tensor.ndim for tensor in plain)


def _count(
    func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], posing: Sequence[Posing], there: bool
) -> None:
    """Count an operation for which the host waits."""
    if name in ("_to_copy", "copy_"):
        source = args[1] if name == "copy_" else args[0]
        target = isinstance(args[0], Posing) if name == "copy_" else there
        if isinstance(source, Posing) != target and not kwargs.get("non_blocking"):
            WAITS.wait(f"copied to the {'device' if target else 'host'}")
    elif posing and (name in WAITING or (name == "repeat_interleave" and kwargs.get("output_size") is None)):
        WAITS.wait(name)
    elif posing and name in INDEXING:
        indices = [index for index in tree_leaves(args[1]) if isinstance(index, Tensor)]
        scalar = name != "index" and args[2].ndim == 0  # that is a masked_fill_
        mask = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
        if any(not isinstance(index, Posing) for index in indices) or (mask and not scalar):
            WAITS.wait(f"{name} by {'a mask' if mask else 'indices of the host'}")


def _indices(index: Any) -> Any:
    """Bring lists of numbers to the device, as CUDA does."""
    if isinstance(index, list | np.ndarray):
        return torch.tensor(index, device=DEVICE)
    return tuple(map(_indices, index)) if isinstance(index, tuple) else index


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, Posing) else leaf


def _posed(tensor: Tensor, same: Mapping[int, Posing]) -> Tensor:
    if isinstance(tensor, Posing):
        return tensor
    return same[id(tensor)] if id(tensor) in same else Posing(tensor)


def _where() -> str:
    """Tell the innermost line of vidcam's."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        _, inside, path = frame.f_code.co_filename.rpartition("/vidcam/")
        if inside and "site-packages" not in path and not path.startswith("attribution/endings"):  # it calls all
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"


@contextmanager
def posing() -> Iterator[Device]:
    """Let "cuda:0" be a device while the body runs; gives what is counted of it."""
    state = torch.zeros(16, dtype=torch.uint8)
    patches = {
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.device_count": lambda: 1,
        "torch.backends.cudnn.is_acceptable": lambda _: False,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.get_rng_state": lambda *_: state,
        "torch.cuda.set_rng_state": lambda *_: None,
    }
    WAITS.clear()
    overwrites, lifts = torch.__future__.get_overwrite_module_params_on_conversion(), torch._C._only_lift_cpu_tensors()
    torch._C._ensureCUDADeviceGuardSet()
    with ExitStack() as undone, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(CUDA is not available|compiled without cuDNN)")
        for name, replacement in patches.items():
            undone.enter_context(mock.patch(name, replacement))
        undone.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        undone.callback(torch._C._set_only_lift_cpu_tensors, lifts)
        torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor(..., device=) asks for a real one
        with Dispatch():
            yield WAITS


def on_posed_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let vidcam's trainers be on the device."""
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.strategies import SingleDeviceStrategy

    from vidcam.training import lightning

    class PosedAccelerator(CPUAccelerator):
        def setup_device(self, device: torch.device) -> None:
            """Take it as it is."""

    real = lightning.Trainer

    def posed(**options: Any) -> Any:
        strategy = SingleDeviceStrategy(DEVICE, accelerator=PosedAccelerator())
        return real(**{**options, "strategy": strategy, "accelerator": "auto", "devices": 1})

    monkeypatch.setattr(lightning, "Trainer", posed)


class Convolving(nn.Module):
    """Two convolutions in space and time, with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.BatchNorm3d(4), nn.ReLU())
        self.last = nn.Conv3d(4, 6, 3, 2, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.first(x)).mean((2, 3, 4)))
