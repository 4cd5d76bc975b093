"""What attention lets through: how much each frame adds to the score by way of the context sum_t a_t h_t."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.capturing import Score, capture
from vidcam.attribution.containers import first_tensor, noise_like
from vidcam.attribution.layers import find_layer
from vidcam.attribution.threads import alone
from vidcam.errors import LayerError

Attention = Callable[[Any], Tensor]
"""The network's output -> (B, T), its weights over the frames."""

Call = tuple[list[Tensor], Tensor | None]
"""The tensors that a module was given, and the first that it returned."""


def find_context(net: nn.Module, x: Any, attention: Attention) -> str | None:
    """Name the module that is given states h (B, T, D) and returns the context sum_t a_t h_t (B, D) first.

    It is known by its numbers, on noise of the input's shape: no name or class is taken for granted. None if no module
    does that, as where a network weighs its states in between its modules.
    """
    names = [n for n, module in net.named_modules() if n and not isinstance(module, torch.jit.ScriptModule)]
    with alone(net), _listening(net, names) as heard:
        captured = capture(net, noise_like(x), layers=())
        with captured.inside():
            weights = attention(captured.output)
    # in the order in which modules return: the innermost first
    return next(
        (name for name, calls in heard.items() if len(calls) == 1 and _states(calls[0], weights) is not None), None
    )


def contribution(net: nn.Module, x: Any, *, layer: str, attention: Attention, score: Score) -> Tensor:
    """Return a_t (d score / d context) . h_t of each frame, (B, T), signed.

    Attention's own weights have neither class nor sign. Where a linear layer follows the context, the contributions
    add up to the score less its bias. What frames do by way of the weights themselves is left out.

    Args:
        net: any network; left as it was found.
        x: its input.
        layer: the module that returns the context, see `find_context`.
        attention: how the network's output tells its weights.
        score: the number being explained.

    Raises:
        LayerError: the layer does not return the context.
    """
    with alone(net), _listening(net, [layer]) as heard:
        captured = capture(net, x, layers=[layer], scores=[score])
        with captured.inside():
            weights = attention(captured.output)
    states = _states(heard[layer][0], weights)
    if states is None:
        raise LayerError(f"layer {layer!r} does not return the sum of its states weighted by attention")
    gradient = _fine(captured.gradients[0][layer])
    with torch.autocast(states.device.type, enabled=False):
        return _fine(weights) * torch.einsum("bd,btd->bt", gradient.to(states), states)


@contextmanager
def _listening(net: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Call]]]:
    """Note what modules are given and return, in the order in which they return."""
    heard: dict[str, list[Call]] = {}

    def listen(name: str, given: Sequence[Any], output: Any) -> None:
        tensors = (part.detach() for part in given if isinstance(part, Tensor) and part.is_floating_point())
        returned = first_tensor(output)
        call = [part for part in tensors if part.ndim == 3], None if returned is None else returned.detach()
        heard.setdefault(name, []).append(call)

    with ExitStack() as hooks:
        for name in names:
            handle = find_layer(net, name).register_forward_hook(
                lambda _m, args, kwargs, output, name=name: listen(name, (*args, *kwargs.values()), output),
                with_kwargs=True,
            )
            hooks.enter_context(handle)
        yield heard


def _states(call: Call, weights: Tensor) -> Tensor | None:
    """Return the states of which the call returned the weighted sum, if it did, in float32 or finer."""
    given, returned = call
    for states in given:
        if returned is not None and states.shape[:2] == weights.shape and returned.shape == states[:, 0].shape:
            fine = _fine(states)
            context = (_fine(weights)[..., None] * fine).sum(1)  # no product of matrices: those may be rounded
            error = float((context - returned).abs().max() / fine.abs().max().clamp_min(torch.finfo(fine.dtype).tiny))
            coarsest = max(torch.finfo(tensor.dtype).eps for tensor in (states, returned, weights))
            if error <= max(1e-4, 8 * coarsest) or error <= 4 * _rounding(states):
                return fine
    return None


def _fine(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rounding(like: Tensor) -> float:
    """Measure by how much products of matrices are off here: under autocast, and in TF32, numbers are rounded first."""
    numbers = torch.linspace(1, 2, 64 * 64, device=like.device).reshape(64, 64).to(like)
    return float((numbers @ torch.eye(64).to(like) - numbers).abs().max())
