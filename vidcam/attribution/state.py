"""State: what a network keeps from one call to the next, beside its parameters.

That is its buffers and what the attributes of its modules hold, also in lists, dictionaries, tuples and plain objects.
A run works on copies of all tensors, so that the user's own, and the graphs that hang on them, stay as they are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vidcam.attribution.places import DEPTH, alike, as_tuple, fill, holds_tensors, inside_of, items_of, mapped
from vidcam.attribution.threads import alone

PLAIN = frozenset((type(None), bool, int, float, str))
"""Types of what holds nothing."""
Swap = Callable[[Any], Any]
"""A tensor or an array of numpy -> what takes its place."""


@dataclass
class Standing:
    """How a network stands: what each place holds where it keeps something, a module, dictionary, list or object."""

    roots: dict[str, Any] = field(default_factory=dict)
    """Attributes and buffers, by their full names."""
    places: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """Places by identity, and what they hold."""
    within: dict[int, "Within"] = field(default_factory=dict)
    """Where each place lies."""
    weights: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How often each parameter was written to, and where it lies: they are not copied."""
    copies: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Copies of its tensors that the network works on meanwhile, by identity, and what they are copies of."""

    def same(self) -> dict[int, Tensor]:
        """Return what was copied, for those copies that nobody has changed; a GPU is waited for once."""
        found: dict[int, Tensor] = {}
        for device in {copy.device for copy, _ in self.copies.values()}:
            there = [each for each in self.copies.values() if each[0].device == device]
            differ = torch.stack([(copy != own).any() for copy, own in there]).tolist()
            found |= {id(copy): own for (copy, own), differs in zip(there, differ, strict=True) if not differs}
        return found

    def put(self, names: Collection[str] | None = None) -> None:
        """Let every place hold what it held, or what belongs to some of the roots alone.

        Objects without tensors, as loggers, are none of ours.
        """
        for key, (place, items) in self.places.items():
            now, within = items_of(place), self.within[key]
            wanted = items if names is None else within.chosen(now, items, names)
            if not alike(now, wanted):
                if within.owner is None or holds_tensors(within.owner) or holds_tensors(wanted):
                    fill(place, wanted)

    @contextmanager
    def inside(self, names: Collection[str] | None = None) -> Iterator[None]:
        """Put it, and put back what stood there."""
        now = {key: (place, items_of(place)) for key, (place, _) in self.places.items()}
        self.put(names)
        try:
            yield
        finally:
            Standing(places=now, within=self.within).put()

    def to(self, device: torch.device) -> "Standing":
        """Return the same with tensors on a device."""

        def moved(value: Any) -> Any:
            if isinstance(value, tuple):
                return as_tuple(value, [moved(part) for part in value])
            return value.to(device) if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) else value

        places = {key: (place, mapped(items, moved)) for key, (place, items) in self.places.items()}
        return Standing(places=places, within=self.within)

    def changes(self, other: "Standing") -> list[str]:
        """Name the attributes and buffers of which another standing holds another value."""
        names = [*dict.fromkeys((*self.roots, *other.roots))]
        missing = object()
        same = partial(_same, one=self, other=other, seen=set())
        return [name for name in names if not same(self.roots.get(name, missing), other.roots.get(name, missing))]


class Within(NamedTuple):
    """Where a place lies."""

    root: str = ""
    """The attribute by which it is reached; of a module's own place what comes before its attributes' names."""
    is_own: bool = False
    """Whether it is the place of a module's attributes, or buffers, themselves."""
    owner: Any = None
    """The object that it lies in, if that is no part of the network."""
    depth: int = 0

    def chosen(self, now: Any, items: Any, names: Collection[str]) -> Any:
        """Return what the place shall hold if only some roots are put."""
        if not self.is_own:
            return items if self.root in names else now
        mine = {name for name in (*now, *items) if self.root + name in names}
        kept_on = {name: value for name, value in now.items() if name not in mine}
        return kept_on | {name: value for name, value in items.items() if name in mine}


@dataclass
class Left:
    """What a forward left in a network that was put back afterwards; without the graph of that forward."""

    net: nn.Module
    before: Standing
    after: Standing

    @property
    def names(self) -> list[str]:
        """The attributes, buffers and parameters that the forward changed."""
        return [*self.before.changes(self.after), *self.weights]

    @property
    def weights(self) -> list[str]:
        """The parameters that the forward wrote to, which are not put back."""
        return [name for name, told in self.after.weights.items() if self.before.weights.get(name, told) != told]

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Show the network as the forward left it, for functions that read its attributes."""
        with alone(self.net), self.after.inside():
            yield


@contextmanager
def kept(net: nn.Module) -> Iterator[Standing]:
    """Let the network work on copies of all that it keeps, and put back the very tensors and contents afterwards."""
    copies: dict[int, tuple[Tensor, Tensor]] = {}
    before, _ = _walk(net, _copying(net, copies))
    before.copies = copies
    try:
        yield before
    finally:
        before.put()


def standing(net: nn.Module) -> Standing:
    """Return how the network stands; its tensors must not be changed in place while that counts."""
    return _walk(net, lambda tensor: tensor)[0]


def copied(net: nn.Module) -> Standing:
    """Return how the network stands, with tensors of its own."""
    before, after = _walk(net, _copying(net))
    before.put()
    return after


def left_by(net: nn.Module, before: Standing) -> Left:
    """Return what the network keeps now, and cut it off its graph."""
    same = before.same()
    return Left(net, before, _walk(net, lambda value: same[id(value)] if id(value) in same else _cut(value))[1])


def _walk(net: nn.Module, change: Swap) -> tuple[Standing, Standing]:
    """Swap all tensors that a network keeps; return how it stood before, and how it stands then."""
    walk = _Walk(change)
    for told in (walk.before, walk.after):
        told.weights = {name: (p._version, p.data_ptr()) for name, p in net.named_parameters() if not p.is_inference()}
    for name, module in net.named_modules():
        walk.module(module, Within(f"{name}." if name else "", is_own=True))
    return walk.before, walk.after


class _Walk:
    """A way through all places in which a network keeps something."""

    def __init__(self, change: Swap) -> None:
        self.before, self.after = Standing(), Standing()
        self._change = change
        self._done: dict[int, tuple[Any, Any]] = {}

    def module(self, module: nn.Module, within: Within) -> None:
        """Go through a module's own attributes and buffers."""
        self._place(module, within)
        if not isinstance(module, torch.jit.ScriptModule):
            self._place(module._buffers, within)

    def _place(self, place: Any, within: Within) -> None:
        if id(place) in self.before.places:
            return
        items, own = items_of(place), within.is_own
        self.before.places[id(place)] = (place, items)
        self.before.within[id(place)] = self.after.within[id(place)] = within
        if own:
            changed = {name: self._own(value, Within(within.root + name)) for name, value in items.items()}
            self.before.roots |= {within.root + name: value for name, value in items.items()}
            self.after.roots |= {within.root + name: value for name, value in changed.items()}
        else:
            changed = mapped(items, lambda value: self._own(value, within))
        self.after.places[id(place)] = (place, changed)
        if not alike(items, changed):
            fill(place, changed)

    def _own(self, value: Any, within: Within) -> Any:
        if type(value) in PLAIN or isinstance(value, nn.Parameter):
            return value
        if isinstance(value, Tensor | np.ndarray):
            return self._done.setdefault(id(value), (value, self._change(value)))[1]
        if isinstance(value, tuple):
            parts = [self._own(part, within) for part in value]
            return value if alike(parts, list(value)) else as_tuple(value, parts)
        if isinstance(value, nn.Module):
            if within.owner is None and id(value) not in self.before.places:  # not registered: a list holds it
                for part in value.modules():
                    self.module(part, within)
        elif (place := inside_of(value)) is value and place is not None:
            self._place(place, within)
        elif place is not None and within.depth < DEPTH:
            owner = value if within.owner is None else within.owner
            self._place(place, within._replace(owner=owner, depth=within.depth + 1))
        return value


def _same(a: Any, b: Any, *, one: Standing, other: Standing, seen: set[tuple[int, int]]) -> bool:
    """Whether two values, of two standings, are equal."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and bool(np.array_equal(a, b))
    inside = (a, b) if isinstance(a, tuple) else tuple(map(inside_of, (a, b)))
    known = [standing.places.get(id(place)) for standing, place in zip((one, other), inside, strict=True)]
    contents = inside if isinstance(a, tuple) else [None if place is None else place[1] for place in known]
    if contents[0] is None or contents[1] is None:
        return a is b or _equal(a, b)
    if (id(a), id(b)) in seen:
        return True
    seen.add((id(a), id(b)))
    same = partial(_same, one=one, other=other, seen=seen)
    if isinstance(contents[0], dict):
        return contents[0].keys() == contents[1].keys() and all(same(v, contents[1][k]) for k, v in contents[0].items())
    if isinstance(contents[0], set):
        return bool(contents[0] == contents[1])
    return len(contents[0]) == len(contents[1]) and all(map(same, contents[0], contents[1]))


def _equal(a: Any, b: Any) -> bool:
    """Whether two things that are no tensors are equal, as far as they can tell."""
    try:
        return bool(a == b)
    except (TypeError, ValueError, RuntimeError):
        return False


def _copying(net: nn.Module, copies: dict[int, tuple[Tensor, Tensor]] | None = None) -> Swap:
    """Return what copies tensors, and notes that; those that look at the same memory still do so afterwards."""
    seen: list[Any] = []
    _walk(net, lambda tensor: seen.append(tensor) or tensor)  # type: ignore[func-returns-value]
    counts = Counter(place for tensor in seen if (place := _memory(tensor)) is not None)
    memory: dict[int, Any] = {}

    def copy(tensor: Any) -> Any:
        if isinstance(tensor, np.ndarray):
            return tensor if isinstance(tensor, np.memmap) else tensor.copy()
        place = _memory(tensor)
        if place is None or counts[place] < 2:
            own = tensor.detach().clone()
            if copies is not None and place is not None:
                copies[id(own)] = own, tensor
            return own
        if place not in memory:
            memory[place] = tensor.untyped_storage().clone()
        own = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return own.set_(memory[place], tensor.storage_offset(), tensor.size(), tensor.stride())

    return copy


def _memory(tensor: Any) -> int | None:
    """Tell where the memory of an ordinary tensor begins."""
    if type(tensor) is not Tensor or tensor.layout is not torch.strided or not tensor.numel():
        return None
    if tensor.is_conj() or tensor.is_neg():  # not all that they are lies in memory
        return None
    return tensor.untyped_storage().data_ptr()


def _cut(tensor: Any) -> Any:
    """Cut a tensor off its graph; one made under inference mode is copied, which autograd would refuse later."""
    if isinstance(tensor, np.ndarray):
        return tensor
    return tensor.clone() if tensor.is_inference() else tensor.detach()
