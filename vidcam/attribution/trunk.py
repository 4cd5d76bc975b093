"""Trunk: the layers that all of a network's answer passes through, so that nothing is missed where they are explained.

A stage of a ResNet is one; the convolution inside a block, past which the residual goes, is not. What a transformer's
last block returns is one, too, but where only the class token is read of it the other tokens have no gradient.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from vidcam.attribution.capturing import eagerly, untouched
from vidcam.attribution.chance import seeded
from vidcam.attribution.checkpointing import without_checkpoints
from vidcam.attribution.layers import call, count_tensors, first_tensor, map_tensors, token_grid
from vidcam.attribution.rows import attributes_kept


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
    """Where what it returned hangs in the graph."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of its rows, those of all calls one after the other; None if they differ."""
        (first, *_), insides = self.shapes, {shape[1:] for shape in self.shapes}
        return (sum(shape[0] for shape in self.shapes), *first[1:]) if len(insides) == 1 else None


class Walk:
    """One forward of a network, with its graph."""

    def __init__(self, output: Any, answer: Tensor, passed: list[Passed], leaves: list[Tensor]) -> None:
        self.output, self.passed, self._answer = output, passed, answer
        self._leaves = {get_gradient_edge(leaf).node for leaf in leaves}
        with seeded(0):  # no two parts of the answer cancel
            weights = torch.rand(answer.shape).to(answer) + 0.5
        self._value = (answer * weights).sum()

    def is_trunk(self, passed: Passed) -> bool:
        """Whether all of the answer that depends on the input passes through a module."""
        cut = {edge.node for edge in passed.edges}
        open_ = [node for node in (self._answer.grad_fn,) if node is not None and node not in cut]
        seen = set(open_)
        while open_:
            for node, _ in open_.pop().next_functions:
                if node is not None and node not in seen and node not in cut:
                    if node in self._leaves:
                        return False
                    seen.add(node)
                    open_.append(node)
        return True

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
    leaves: list[Tensor] = []
    notes: dict[str, Passed] = {}
    with untouched(net), attributes_kept(net), torch.inference_mode(False), torch.enable_grad():
        with ExitStack() as hooks, without_checkpoints, eagerly():
            for name, module in net.named_modules():
                if name:
                    hooks.enter_context(module.register_forward_hook(_noting(notes, name)))
            output = call(net, map_tensors(x, lambda tensor: _leaf(tensor, leaves)))
        yield Walk(output, answer(output), _outermost(notes), leaves)


def _leaf(tensor: Tensor, leaves: list[Tensor]) -> Tensor:
    """Copy an input as a leaf of the graph, and as a view of it, as networks may write into what they are given."""
    own = tensor.detach().clone()
    if not own.is_floating_point():
        return own
    leaves.append(own.requires_grad_())
    return own.view_as(own)


def _noting(notes: dict[str, Passed], name: str) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is None or not tensor.requires_grad or not tensor.ndim:
            return
        note = notes.pop(name, None) or Passed(name)  # stands where it was done last
        notes[name] = note
        note.shapes.append(tuple(tensor.shape))
        note.grid, note.tensors = token_grid(name, output).get(name), count_tensors(output)
        note.edges.append(get_gradient_edge(tensor))

    return hook


def _outermost(notes: dict[str, Passed]) -> list[Passed]:
    """Keep the outermost of modules that return the same tensors, in the order in which modules are done."""
    kept: dict[tuple[tuple[Any, int], ...], Passed] = {}
    for note in notes.values():
        same = tuple((edge.node, edge.output_nr) for edge in note.edges)
        other = kept.get(same)
        if other is None or note.name.count(".") < other.name.count("."):
            kept[same] = note
    return list(kept.values())
