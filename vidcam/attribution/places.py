"""Places: where a network keeps something, its modules, dictionaries, lists, sets and plain objects."""

from collections import deque
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

OWN = frozenset(vars(nn.Module()))
"""Attributes that make a module, and are no state."""
CLOSED = (str, bytes, type, FunctionType, MethodType, ModuleType, partial, torch.Generator)
"""What is not looked into."""
DEPTH = 2
"""How many objects that are no modules may lie one in the other."""


def inside_of(value: Any) -> Any:
    """Return the place that a value is, or an object has, or None."""
    if isinstance(value, dict | list | deque | set | nn.Module):
        return value
    return None if isinstance(value, CLOSED) else getattr(value, "__dict__", None)


def items_of(place: Any) -> Any:
    """Return what a place holds, as a dictionary, list or set of its own."""
    if isinstance(place, torch.jit.ScriptModule):
        return dict(place.named_buffers(recurse=False))
    if isinstance(place, nn.Module):
        return {name: value for name, value in vars(place).items() if name not in OWN}
    return dict(place) if isinstance(place, dict) else set(place) if isinstance(place, set) else list(place)


def fill(place: Any, items: Any) -> None:
    """Let a place hold these items, and no others."""
    if isinstance(place, torch.jit.ScriptModule):
        for name, value in items.items():
            setattr(place, name, value)
    elif isinstance(place, nn.Module):
        for name in items_of(place).keys() - items.keys():
            del vars(place)[name]
        vars(place).update(items)
    else:
        place.clear()
        place.extend(items) if isinstance(place, list | deque) else place.update(items)


def mapped(items: Any, change: Callable[[Any], Any]) -> Any:
    """Change all items of a dictionary or list; those of sets stay."""
    if isinstance(items, dict):
        return {key: change(value) for key, value in items.items()}
    return [change(value) for value in items] if isinstance(items, list) else items


def as_tuple(value: tuple[Any, ...], parts: list[Any]) -> Any:
    """Return a tuple of the same type with other parts."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two contents are the very same things."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(value is other[key] for key, value in one.items())
    if isinstance(one, set):
        return bool(one == other)
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def holds_tensors(value: Any) -> bool:
    """Tell whether there is a tensor or an array in a value, or in what it holds, some steps deep."""
    seen, ahead = {id(value)}, [value]
    for _ in range(DEPTH + 4):
        if any(isinstance(each, Tensor | np.ndarray) for each in ahead):
            return True
        inside = [each if isinstance(each, tuple) else inside_of(each) for each in ahead]
        parts = [part for place in inside if place is not None for part in _parts(place)]
        ahead = [part for part in {id(part): part for part in parts}.values() if id(part) not in seen]
        seen |= {id(part) for part in ahead}
    return False


def _parts(place: Any) -> list[Any]:
    items = place if isinstance(place, tuple) else items_of(place)
    return list(items.values()) if isinstance(items, dict) else list(items)
