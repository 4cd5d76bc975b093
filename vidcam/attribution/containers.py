"""Containers: the tensors that networks are given and return, in whatever holds them."""

import copy
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.errors import ModelError


def named_parts(value: Any) -> Mapping[Any, Any]:
    """Return what a container holds, by key, field, index or attribute; empty for all else.

    Containers are mappings, data classes, (named) tuples, lists, and objects whose attributes are tensors or these.
    """
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return dict(enumerate(value)) if isinstance(value, tuple | list | deque) else _attributes(value)


def _attributes(value: Any) -> Mapping[str, Any]:
    """Return the attributes of an object that may hold tensors; none of what has a life of its own."""
    if isinstance(value, Tensor | nn.Module | type):
        return {}
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names = dict.fromkeys([*getattr(value, "__dict__", ()), *slots])
    parts = {name: getattr(value, name, None) for name in names}
    return {name: part for name, part in parts.items() if isinstance(part, Tensor | Mapping | tuple | list)}


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every floating point tensor in a value by its path, as "heads.0.logits", each tensor once."""
    if isinstance(value, Tensor) and value.is_floating_point():
        yield path, value
    seen: list[Tensor] = []
    for key, part in named_parts(value).items():
        for below, tensor in tensors_in(part, f"{path}.{key}" if path else str(key)):
            if not any(same(tensor, other) for other in seen):
                seen.append(tensor)
                yield below, tensor


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or views of the same numbers in the same shape."""
    return one is other or (
        (one.shape, one.stride(), one.dtype, one.device) == (other.shape, other.stride(), other.dtype, other.device)
        and one.numel() > 0
        and one.data_ptr() == other.data_ptr()
    )


def copied(tensor: Tensor) -> Tensor:
    """Copy an input, which the network may change in place."""
    return tensor.detach().clone()


def cut_off(tensor: Tensor) -> Tensor:
    """Cut a tensor off its graph; copy it if it was made under inference mode, which autograd refuses."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def first_tensor(value: Any) -> Tensor | None:
    """Return the first floating point tensor in a tensor or in what `named_parts` looks into."""
    return next((tensor for _, tensor in tensors_in(value)), None)


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a value of the same structure and types in which every tensor is changed.

    Raises:
        ModelError: something holds tensors that cannot be copied.
    """
    if isinstance(value, Tensor):
        return change(value)
    parts = named_parts(value)
    changed = {key: map_tensors(part, change) for key, part in parts.items()}
    if all(changed[key] is part for key, part in parts.items()):
        return value
    is_plain = isinstance(value, dict) or not isinstance(value, Mapping)  # else a copy may share what holds the parts
    for make in (_copied, _made_anew) if is_plain else (_made_anew, _copied):
        with suppress(Exception):
            result = make(value, changed)
            if all(named_parts(result)[key] is part for key, part in changed.items()):
                return result
    kind = type(value).__name__
    raise ModelError(
        f"tensors are held by a {kind}, which cannot be copied; pass them in a dict, a tuple or a dataclass"
    )


def _copied(value: Any, parts: Mapping[Any, Any]) -> Any:
    if isinstance(value, tuple):
        return type(value)._make(parts.values()) if hasattr(value, "_fields") else type(value)([*parts.values()])  # type: ignore[attr-defined]
    result = copy.copy(value)
    for key, part in parts.items():
        if isinstance(value, Mapping | list | deque):
            result[key] = part
        else:
            object.__setattr__(result, key, part)  # also where the data class is frozen
    return result


def _made_anew(value: Any, parts: Mapping[Any, Any]) -> Any:
    kind: Any = type(value)
    return kind(dict(parts) if isinstance(value, Mapping) else [*parts.values()])


def noise_like(value: Any) -> Any:
    """Return a value of the same structure with noise for tensors, the same for every call."""
    generator = torch.Generator().manual_seed(0)
    return map_tensors(value, lambda tensor: torch.randn(tensor.shape, generator=generator).to(tensor))


def clip_in(x: Any) -> Tensor | None:
    """Return the tensor of an input that holds pictures, or else its first: a mask may stand before the clip."""
    found = [tensor for _, tensor in tensors_in(x)]
    return next((tensor for tensor in found if tensor.ndim >= 4), found[0] if found else None)


def shapes_in(x: Any) -> str:
    """Name the shapes of what a network is given: "(1, 3, 16, 112, 112)", or "slow (...), fast (...)"."""
    return ", ".join(f"{path} {tuple(part.shape)}".strip() for path, part in tensors_in(x))
