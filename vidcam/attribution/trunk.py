"""Trunk: the layers that all of a network's answer passes through, so that nothing is missed where they are explained.

A stage of a ResNet is one; the convolution inside a block, past which the residual goes, is not. What a transformer's
last block returns is one, too, but where only the class token is read of it the other tokens have no gradient.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vidcam.attribution.capturing import eagerly
from vidcam.attribution.chance import seeded
from vidcam.attribution.checkpointing import without_checkpoints
from vidcam.attribution.containers import first_tensor, map_tensors, tensors_in
from vidcam.attribution.layers import call, on_output, token_grid
from vidcam.attribution.untouched import untouched


@dataclass
class Passed:
    """A module that was called, and what came out of it."""

    name: str
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """Of what it returned, one for each call."""
    grid: tuple[int, ...] | None = None
    """(t, h, w) where it returns that beside its tokens."""
    tensors: int = 1
    """How many floating point tensors it returned."""
    edges: list[GradientEdge] = field(default_factory=list)
    """Where the first tensor that it returned hangs in the graph, one for each call."""
    others: list[GradientEdge] = field(default_factory=list)
    """And the other ones."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of its rows, those of all calls one after the other; None if they differ."""
        (first, *_), insides = self.shapes, {shape[1:] for shape in self.shapes}
        return (sum(shape[0] for shape in self.shapes), *first[1:]) if len(insides) == 1 else None


class Walk:
    """One forward of a network, with its graph."""

    def __init__(self, output: Any, answer: Tensor, passed: list[Passed], leaves: dict[str, Tensor]) -> None:
        self.output, self.passed, self._answer = output, passed, answer
        self._leaves = {name: get_gradient_edge(leaf).node for name, leaf in leaves.items()}
        with seeded(0):  # no two parts of the answer cancel
            weights = torch.rand(answer.shape).to(answer) + 0.5
        self._value = (answer * weights).sum()

    def is_trunk(self, passed: Passed, of: str | None = None) -> bool:
        """Whether all of the answer that depends on the input, or on one of several, passes through a module."""
        cut = {edge.node for edge in (*passed.edges, *passed.others)}
        reached = _reached([] if self._answer.grad_fn is None else [self._answer.grad_fn], cut)
        return not any(leaf in reached for name, leaf in self._leaves.items() if of in (None, name))

    def sees(self, passed: Passed) -> list[str]:
        """Name the inputs that what a module returned depends on."""
        reached = _reached([edge.node for edge in passed.edges], set())
        return [name for name, leaf in self._leaves.items() if leaf in reached]

    def parts(self, passed: Passed) -> list[Passed]:
        """Return the modules that returned the tensors of which a module's output is made, each the outermost."""
        wanted = [(edge.node, edge.output_nr) for edge in (*passed.edges, *passed.others)]
        single = {(p.edges[0].node, p.edges[0].output_nr): p for p in self.passed if len(p.edges) == 1 and not p.others}
        return [single[edge] for edge in wanted if edge in single]

    def gradient(self, passed: Passed) -> Tensor:
        """(rows, ...) gradient of all of the answer's numbers, mixed, with respect to what a module returned."""
        slopes = torch.autograd.grad(self._value, passed.edges, allow_unused=True, retain_graph=True)
        pairs = zip(slopes, passed.shapes, strict=True)
        return torch.cat([torch.zeros(shape).to(self._value) if own is None else own for own, shape in pairs])


@contextmanager
def walk(net: nn.Module, x: Any, answer: Callable[[Any], Tensor]) -> Iterator[Walk]:
    """Run a network once and see which modules its answer passes through; it is left as it was found.

    Args:
        net: any network.
        x: its input: a tensor, a tuple of arguments or a mapping of keyword arguments.
        answer: finds the tensor of the answer in what the network returns.
    """
    leaves: dict[str, Tensor] = {}
    notes: dict[str, Passed] = {}
    with untouched(net), torch.inference_mode(False), torch.enable_grad():
        with ExitStack() as hooks, without_checkpoints, eagerly():
            for name, module in net.named_modules():
                if name:
                    hooks.enter_context(on_output(module, _noting(notes, name)))
            output = call(net, _leaves(x, leaves))
        yield Walk(output, answer(output), _outermost(notes), leaves)


def _leaves(x: Any, leaves: dict[str, Tensor]) -> Any:
    """Copy an input as leaves of the graph, by name, and as views of them, which networks may write into."""
    names = [*x] if isinstance(x, Mapping) else []

    def leaf(tensor: Tensor) -> Tensor:
        own = tensor.detach().clone().requires_grad_(tensor.is_floating_point())
        name = names[len(leaves)] if len(leaves) < len(names) else str(len(leaves))
        leaves[name] = own
        return own.view_as(own) if own.requires_grad else own

    given = map_tensors(x, leaf)
    for name in [name for name, own in leaves.items() if not own.requires_grad]:
        del leaves[name]
    return given


def _reached(starts: Sequence[Any], cut: Collection[Any]) -> set[Any]:
    """Return the nodes of the graph that can be reached from some without passing through others."""
    open_ = [node for node in starts if node not in cut]
    reached = set(open_)
    while open_:
        for node, _ in open_.pop().next_functions:
            if node is not None and node not in reached and node not in cut:
                reached.add(node)
                open_.append(node)
    return reached


def _noting(notes: dict[str, Passed], name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None or not tensor.requires_grad or not tensor.ndim:
            return
        note = notes.pop(name, None) or Passed(name)  # stands where it was done last
        notes[name] = note
        note.shapes.append(tuple(tensor.shape))
        note.grid, note.tensors = token_grid(name, output).get(name), len(dict(tensors_in(output)))
        note.edges.append(get_gradient_edge(tensor))
        map_tensors(output, lambda other: _note_other(note, tensor, other))

    return hook


def _note_other(note: Passed, first: Tensor, other: Tensor) -> Tensor:
    if other is not first and other.requires_grad:
        note.others.append(get_gradient_edge(other))
    return other


def _outermost(notes: dict[str, Passed]) -> list[Passed]:
    """Keep the outermost of modules that return the same tensors, in the order in which modules are done."""
    kept: dict[tuple[tuple[Any, int], ...], Passed] = {}
    for note in notes.values():
        same = tuple((edge.node, edge.output_nr) for edge in (*note.edges, *note.others))
        other = kept.get(same)
        if other is None or note.name.count(".") < other.name.count("."):
            kept[same] = note
    return list(kept.values())
