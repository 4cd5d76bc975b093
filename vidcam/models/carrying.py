"""Carrying: how the state of a network begins and goes on, and networks with a state of which nobody spoke."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.capturing import Captured, capture
from vidcam.attribution.containers import map_tensors, noise_like
from vidcam.attribution.failures import of_device
from vidcam.attribution.state import Left, Standing, kept, standing
from vidcam.attribution.threads import alone
from vidcam.errors import ModelError, OptionError
from vidcam.models.sight import Sight
from vidcam.models.state import Beginning, inner

ROUNDING = 64
"""Answers that differ by so many units of the last place are the same."""


@contextmanager
def begun(model: Sight) -> Iterator[Standing]:
    """Let the network's state begin; it is put back afterwards, and no other thread comes in meanwhile.

    What is yielded lets it begin once more, by `put`.
    """
    if model.state is None:
        yield Standing()
        return
    with torch.inference_mode(False), alone(model.net), kept(model.net), ExitStack() as stack:
        if model.reset is None:
            assert model._made is not None  # it remembers how the network stood
            stack.enter_context(_standing(model, model._made).inside(_names(model, model._made)))
        else:
            _reset(model)
        yield standing(model.net)


def _standing(model: Sight, made: Beginning) -> Standing:
    return made.standing if made.device == model.device else made.standing.to(model.device)


def _names(model: Sight, made: Beginning) -> set[str]:
    """Return what belongs to the state: what calls change; all else is as it is now."""
    if made.state is None:
        calls = _two_calls(model, made)
        if weights := [name for left in calls for name in left.weights]:
            raise OptionError(
                f"{model.name} keeps its state in parameter {weights[0]!r}, and parameters are not put back after a "
                "run: keep it in a buffer (register_buffer)"
            )
        made.state = {name for left in calls for name in left.names}
    if not made.state:
        raise OptionError(
            f"{model.name} is said to keep a state, but a call changes nothing in the attributes and buffers of its "
            "modules, where it is looked for; if it is there and seldom changes, say how it begins: reset="
        )
    return made.state


def _two_calls(model: Sight, made: Beginning) -> list[Left]:
    """Return what two calls leave, the second of which goes on from the first."""
    x = model.example()
    try:
        with kept(model.net), _standing(model, made).inside():
            first = capture(model.net, x, layers=(), gradients=False)
            with first.inside():
                second = capture(model.net, x, layers=(), gradients=False)
    except Exception as error:
        raise ModelError(
            f"what {model.name} keeps from call to call cannot be told, as it fails on noise "
            f"({_line(error.__cause__ or error)}); say how its state begins: reset="
        ) from error
    return [each.left for each in (first, second) if each.left is not None]


def _reset(model: Sight) -> None:
    reset, net = model.reset, inner(model.net)
    try:
        with torch.inference_mode(False), torch.no_grad():
            getattr(net, reset)() if isinstance(reset, str) else callable(reset) and reset(net)
    except Exception as error:
        raise ModelError(f"reset= of {model.name} failed: {_line(error)}") from error


def go_on(model: Sight, captured: Captured) -> None:
    """Let the network go on from where a window's forward left it, if its state is carried."""
    if model.state == "carried" and captured.left is not None:
        captured.left.after.put()


def one_by_one(model: Sight, batch: int | None) -> int | None:
    """Return how many windows, or versions of one, a forward takes: one where there is a state and nobody said more."""
    if model.state == "carried" and batch not in (None, 1):
        raise OptionError(f"{model.name} carries a state from window to window, one at a time: batch=1; given {batch}")
    return batch if batch is not None or model.state is None else 1


def refuse_carried(model: Sight, what: str) -> None:
    """Raise an OptionError where windows are not run once, one after the other."""
    if model.state == "carried":
        raise OptionError(
            f"{what}, which goes for no state that is carried from window to window, as that of {model.name}: explain "
            "it, or let every window begin anew by state='fresh'"
        )


def check_stateless(model: Sight, x: Any, captured: Captured) -> None:
    """Refuse a network that answers otherwise after a call, where nobody said what becomes of its state.

    Args:
        model: the model; nothing is asked where its state is told, or what the forward changed is known to be idle.
        x: what the network was given.
        captured: what one forward gave.

    Raises:
        ModelError: the network answers otherwise after it was shown the same, or something else.
    """
    left = captured.left
    if model.state is not None or left is None or not (names := {*left.names} - model._idle.keys()):
        return
    once = capture(model.net, x, layers=(), gradients=False)  # without gradients, other kernels may round otherwise
    assert once.left is not None
    changing: set[str] = set()
    for before in (once, _after_another(model, x)):  # noise alone may leave nothing behind: it may be all dark to it
        with before.inside():
            again = capture(model.net, x, layers=(), gradients=False)
        assert again.left is not None
        if not _agree(once.output, again.output):
            raise ModelError(
                f"{model.name} answers otherwise once it was called, by what it keeps in {_listed(sorted(names))}: say "
                "Model(state='carried') if that goes on from window to window, or state='fresh' if every window begins "
                "anew; reset= tells how it begins"
            )
        changing |= {*once.left.after.changes(again.left.after)}
    model._idle.update({name: name in changing for name in names})


def notes_on_state(model: Sight) -> Iterator[str]:
    """Say what became of the network's state."""
    began = "as the network stood when the model was made" if model.reset is None else "as reset= left it"
    if model.state == "carried":
        yield (
            f"the network's state began {began}, and was carried from window to window, one at a time and in order: "
            "what earlier windows left in it is taken as given"
        )
    elif model.state == "fresh":
        yield f"the network keeps a state, which began {began} with every window"
    elif changing := sorted(name for name, changes in model._idle.items() if changes):
        yield (
            f"what the network keeps in {_listed(changing)} changes with every call; it made no difference to an "
            "answer, and every window began as the network stood"
        )


def _line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _after_another(model: Sight, x: Any) -> Captured:
    """Run the network on noise, or where it fails there on the same once more."""
    try:
        return capture(model.net, map_tensors(x, _unlike), layers=(), gradients=False)
    except Exception as error:
        if of_device(error):
            raise
    return capture(model.net, x, layers=(), gradients=False)


def _unlike(tensor: Tensor) -> Tensor:
    return noise_like(tensor) if tensor.is_floating_point() else tensor


def _listed(names: list[str], most: int = 3) -> str:
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _agree(one: Any, other: Any) -> bool:
    """Whether two outputs hold the same numbers, but for rounding."""
    parts: list[list[Tensor]] = [[], []]
    for output, own in zip((one, other), parts, strict=True):
        map_tensors(output, lambda part, own=own: own.append(part) or part)  # type: ignore[misc]
    return len(parts[0]) == len(parts[1]) and all(map(_close, *parts))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape == other.shape and torch.equal(one, other)
    if not one.numel():
        return True
    largest = float(one.nan_to_num(0, 0, 0).abs().max())
    rounding = ROUNDING * torch.finfo(one.dtype).eps * largest
    return torch.allclose(one, other, rtol=0, atol=rounding, equal_nan=True)
