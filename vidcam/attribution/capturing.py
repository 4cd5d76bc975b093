"""One forward, and a backward that stops at the layer; the network is left exactly as it was found.

Nothing is recorded before the layer: the network's parameters are frozen, the layer's output becomes a fresh leaf, and
only what follows builds a graph. So an explanation costs one inference in time and memory. Of a layer whose outputs are
computed from each other, as a pyramid's, its inside is recorded as well.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from vidcam.attribution.checkpointing import without_checkpoints
from vidcam.attribution.containers import clip_in, copied, cut_off, map_tensors, same, shapes_in
from vidcam.attribution.endings import BeforeEnding, Endings, Trace, ancestors
from vidcam.attribution.failures import NetworkError, in_words
from vidcam.attribution.layers import (
    INPUT,
    call,
    choose_output,
    find_layer,
    not_used,
    on_output,
    only_with_cells,
    output_name,
    outputs_of,
    split_name,
    token_grid,
)
from vidcam.attribution.state import Left, left_by
from vidcam.attribution.steps import EachStep
from vidcam.attribution.threads import recurrent_backward
from vidcam.attribution.untouched import untouched
from vidcam.errors import LayerError, ModelError, OptionError

T = TypeVar("T")
Score = Callable[[Any], Tensor]
"""The network's output -> (B,), the number being explained, one per sample."""


@dataclass(frozen=True)
class Captured:
    """What one forward and one backward per score gave.

    The rows of a layer that is called several times stand one after the other, in the order of the calls; which sample
    and frame each of them holds is told by `vidcam.attribution.rows`.
    """

    output: Any
    """The network's output, as it returned it."""
    scores: tuple[Tensor, ...]
    """One (B,) per score; of a score over time one after the other for each step."""
    activations: dict[str, Tensor]
    """Per layer, as the layer emits it."""
    gradients: tuple[dict[str, Tensor], ...]
    """Per score and layer, of the activation's shape; zero where the score does not depend on the layer."""
    calls: dict[str, int]
    """How often each layer was called."""
    grids: dict[str, tuple[int, ...]]
    """(t, h, w) of the layers that return their grid beside their tokens."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The layers that return several tensors, and the output of theirs that was captured, which is a layer as well:
    "rnn" and "rnn[0]"."""
    behind: frozenset[str] = frozenset()
    """Layers that are computed from other captured ones, as far as gradients are recorded."""
    trace: Trace = field(default_factory=Trace)
    """What the network computed last; see `ending_of`."""
    counts: tuple[int, ...] = ()
    """How many of `scores` belong to each score that was asked for."""
    left: Left | None = None
    """What the forward left in the network's attributes and buffers, which were put back."""

    def inside(self) -> AbstractContextManager[None]:
        """Show the network as the forward left it, for functions of the output that read its attributes as well."""
        return nullcontext() if self.left is None else self.left.inside()

    def ending_of(self, answer: Tensor) -> str | None:
        """Return the kind of ending that a part of the output came out of, one of `endings.KINDS`, or None."""
        found = self.trace.ending_of(answer)
        return None if found is None else found.kind


def capture(
    net: nn.Module, x: Any, *, layers: Sequence[str], scores: Sequence[Score | EachStep] = (), gradients: bool = True
) -> Captured:
    """Run the network once and differentiate every score with respect to every layer's output.

    Args:
        net: any network; it runs in eval mode, and its flags, parameters, gradients, buffers, hooks, what else its
            modules keep, and the random number generators are restored, also after an exception.
        x: what the network takes: a tensor (B, ...), a tuple of arguments, or a mapping of keyword arguments.
        layers: names as in `net.named_modules()`, or "input".
        scores: functions of the network's output; the batch's samples are taken to be independent.
        gradients: whether to differentiate the scores; without, nothing is recorded and there are no gradients.

    Raises:
        LayerError: a layer does not exist, is not reached, returns no tensor, or its output is overwritten later.
        ModelError: a score or a gradient is not finite.
        OptionError: a score has not the shape (B,).
    """
    inside = {name: "" for name in layers if split_name(name)[1]}
    while True:
        try:
            return _captured(net, x, layers, scores, inside, differentiate=gradients and bool(scores))
        except _Inside as more:
            inside |= more.paths


def _captured(
    net: nn.Module,
    x: Any,
    layers: Sequence[str],
    scores: Sequence[Score | EachStep],
    inside: Mapping[str, str],
    *,
    differentiate: bool,
) -> Captured:
    with (
        torch.inference_mode(False),
        untouched(net) as before,
        # not no_grad: a network that runs its backbone without gradients would go back to that after the backbone
        torch.set_grad_enabled(differentiate),
        recurrent_backward(net) if differentiate else nullcontext(),
        _Recorder(net, layers, inside, differentiate=differentiate) as recorder,
    ):
        with without_checkpoints, eagerly(), Endings() as endings:
            given = recorder.record_input(map_tensors(x, copied))
            with in_words(f"the network, given {shapes_in(x)},", NetworkError):
                output = call(net, given)
        recorder.check()
        told = [[_checked(value, recorder.batch) for value in _values(score, output, endings)] for score in scores]
        values = [value for each in told for value in each]
        differentiated = values if differentiate else []
        slopes = [recorder.gradients(value, last=i == len(values)) for i, value in enumerate(differentiated, 1)]
        recorder.choose(slopes)
        left = left_by(net, before)
    return Captured(
        output=map_tensors(output, Tensor.detach),
        scores=tuple(value.detach() for value in values),
        activations=recorder.named(recorder.activations()),
        gradients=tuple(recorder.named(recorder.filled(slope)) for slope in slopes),
        calls=recorder.named({name: len(calls) for name, calls in recorder.calls.items()}),
        grids=recorder.named(recorder.grids),
        names=recorder.names,
        behind=frozenset(recorder.behind),
        trace=endings.trace().detached(),
        counts=tuple(map(len, told)),
        left=left,
    )


def _values(score: Score | EachStep, output: Any, endings: Endings) -> Sequence[Tensor]:
    """Ask for a score of the output, over time for all of its steps."""
    if isinstance(score, EachStep):
        return score.each(_value(score.score, output, endings), output)
    return [_value(score, output, endings)]


def _value(score: Score, output: Any, endings: Endings) -> Tensor:
    """Ask for a score of the output, or of what went into its answer's ending."""
    if not isinstance(score, BeforeEnding):
        with in_words(f"the score {getattr(score, '__name__', type(score).__name__)!r}", OptionError):
            return score(output)
    answer = score.answer(output)
    ending = endings.of(answer)
    if score.see is not None:
        score.see(output, None if ending is None else ending.kind)
    return score.score(answer if ending is None else ending.given)


class _Inside(Exception):
    """Asks for one more forward that records what happens inside layers of which other outputs are used as well."""

    def __init__(self, paths: dict[str, str]) -> None:
        self.paths = paths  # the chosen output of each


class _Recorder:
    """Hooks on the layers; turns their outputs into the leaves, or inner nodes, that scores are differentiated by."""

    def __init__(
        self, net: nn.Module, layers: Sequence[str], inside: Mapping[str, str], *, differentiate: bool
    ) -> None:
        self.calls: dict[str, list[dict[str, Tensor]]] = {name: [] for name in layers}
        """Per layer and call, the tensors that it returned by their paths."""
        self.grids: dict[str, tuple[int, ...]] = {}
        self.names: dict[str, str] = {}
        """Of layers that return several tensors, the name of the one that is read."""
        self.behind: set[str] = set()
        self._paths: dict[str, str] = {}
        self.batch, self._net = 0, net
        self._inside = inside
        self._open: list[list[nn.Parameter]] = []
        """Of layers at work, the parameters that record meanwhile."""
        self._modules = {name: find_layer(net, name) for name in layers if name != INPUT}
        self._hooks = ExitStack()
        self._versions: list[tuple[str, Tensor, int]] = []
        self._differentiate = differentiate

    def __enter__(self) -> "_Recorder":
        for name, module in self._modules.items():
            if self._records(name):
                self._hooks.enter_context(module.register_forward_pre_hook(self._begin))
            self._hooks.enter_context(on_output(module, self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def record_input(self, x: Any) -> Any:
        """Note the batch size, and make the input a leaf if it is asked for."""
        tensor = clip_in(x)
        if tensor is None or not tensor.ndim:
            raise OptionError(f"the network's input must hold a floating point tensor; given {type(x).__name__}")
        self.batch = tensor.shape[0]
        return self._replace(INPUT, x, {"": tensor}) if INPUT in self.calls else x

    def _records(self, name: str) -> bool:
        """Whether what happens inside a layer is recorded."""
        asked = self._differentiate and name in self._inside
        return asked and not isinstance(self._modules[name], torch.jit.ScriptModule)

    def _begin(self, module: nn.Module, _args: Any) -> None:
        torch.set_grad_enabled(True)
        frozen = [p for p in module.parameters() if p.is_floating_point() and not p.requires_grad]
        self._open.append(frozen)
        for parameter in frozen:
            parameter.requires_grad_()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], Any]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            outputs = outputs_of(name, output)
            if torch.is_inference_mode_enabled():
                raise LayerError(f"layer {name!r} is run under torch.inference_mode by the network; use no_grad there")
            self.grids.update(token_grid(name, output))
            for parameter in self._open.pop() if self._records(name) else ():
                parameter.requires_grad_(False)
            return self._replace(name, output, outputs)

        return hook

    def _replace(self, name: str, value: Any, tensors: Mapping[str, Tensor]) -> Any:
        """Keep tensors to differentiate by; pass on clones, so that an in-place module may overwrite them."""
        torch.set_grad_enabled(self._differentiate)  # the network itself may run its backbone without
        passed: list[tuple[Tensor, Tensor]] = []
        if not self.calls[name] and self._comes_behind(tensors.values()):
            self.behind.add(name)
        self.calls[name].append({})
        for path, tensor in tensors.items():
            kept = tensor if tensor.requires_grad else cut_off(tensor).requires_grad_(self._differentiate)
            self.calls[name][-1][path] = kept
            self._versions.append((name, kept, kept._version))
            passed.append((tensor, kept.clone()))
        return map_tensors(value, lambda part: next((clone for own, clone in passed if same(own, part)), part))

    def _comes_behind(self, tensors: Iterable[Tensor]) -> bool:
        """Whether one of these is computed from what is kept already."""
        kept = [own for calls in self.calls.values() for call in calls for own in call.values() if own.requires_grad]
        nodes = {get_gradient_edge(own).node for own in kept}
        return bool(nodes) and any(not nodes.isdisjoint(ancestors(part) or ()) for part in tensors)

    def check(self) -> None:
        for name, calls in self.calls.items():
            if not calls:
                raise LayerError(not_used(self._net, name))
            if any(call.keys() != calls[0].keys() for call in calls):
                raise LayerError(f"layer {name!r} returns other tensors each time it is used; choose another layer")
        for name, kept, version in self._versions:
            if kept._version != version:
                raise LayerError(f"layer {name!r} has an output that is overwritten later; choose another layer")

    def gradients(self, value: Tensor, *, last: bool) -> list[Tensor | None]:
        """Differentiate the batch's sum by all that is kept; samples do not depend on each other in eval mode."""
        kept = [tensor for calls in self.calls.values() for call in calls for tensor in call.values()]
        slopes: Sequence[Tensor | None] = [None] * len(kept)
        if value.requires_grad:
            slopes = torch.autograd.grad(value.sum(), kept, retain_graph=not last, allow_unused=True)
        if not all(g is None or torch.isfinite(g).all() for g in slopes):
            raise ModelError("a gradient is not finite (NaN or infinite); try a higher precision or another score")
        return [*slopes]

    def choose(self, slopes: Sequence[Sequence[Tensor | None]]) -> None:
        """Choose one of the tensors that a layer returns, of several one that a score depends on."""
        used = [any(own is not None for own in each) for each in zip(*slopes, strict=True)]
        at, more = iter(used), dict[str, str]()
        for name, calls in self.calls.items():
            reached = {path for call in calls for path in call if next(at, False)}
            path = self._inside.get(name)
            if not path or path not in reached:
                path = only_with_cells(calls[0], self.batch) if path is None and reached else None
                if path is None or path in reached:
                    path = choose_output(name, calls[0], self.batch, reached if used else None)
            if name not in self._inside and reached - {path}:
                more[name] = path
            self._paths[name] = path
            if len(calls[0]) > 1:
                self.names[name] = output_name(name, path)
            if len({call[path].shape[1:] for call in calls}) > 1:
                raise LayerError(
                    f"layer {name!r} is used {len(calls)} times with different shapes; choose another layer"
                )
        if more:
            raise _Inside(more)

    def activations(self) -> dict[str, Tensor]:
        return {n: torch.cat([call[self._paths[n]].detach() for call in calls]) for n, calls in self.calls.items()}

    def filled(self, slopes: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """Return the gradients of what was chosen; zero where a score does not depend on it."""
        each, found = iter(slopes), {}
        for name, calls in self.calls.items():
            own = [(path, kept, next(each)) for call in calls for path, kept in call.items()]
            parts = [torch.zeros_like(k) if g is None else g for path, k, g in own if path == self._paths[name]]
            found[name] = torch.cat(parts)
        return found

    def named(self, of_layers: Mapping[str, T]) -> dict[str, T]:
        """Give what belongs to a layer of several outputs under the name of the chosen one as well."""
        return {**of_layers, **{own: of_layers[name] for name, own in self.names.items() if name in of_layers}}


def eagerly() -> AbstractContextManager[Any]:
    """Run compiled networks as they were written: hooks and modes confuse what was compiled without them."""
    stance = getattr(torch.compiler, "set_stance", None)  # from torch 2.6 on
    return nullcontext() if stance is None else stance("force_eager")


def _checked(value: Tensor, batch: int) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != (batch,):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise OptionError(f"a score must return one number per sample, shape ({batch},); given {shape}")
    if not value.is_floating_point():
        raise OptionError(f"a score must return floating point numbers, which have a gradient; given {value.dtype}")
    if not torch.isfinite(value.detach()).all():
        raise ModelError("the score is not finite (NaN or infinite); check the network's weights and its input")
    return value
