"""Feeding: what a network is given, and what to try where it fails at that."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor

from vidcam.attribution.capturing import capture
from vidcam.attribution.failures import NetworkError
from vidcam.errors import VidcamError
from vidcam.models.inputs import INPUT_LAYOUTS, arranged, as_clips
from vidcam.models.model import Model


@contextmanager
def fed(model: Model, x: Any) -> Iterator[None]:
    """Where the network fails at x, say how it was made and what may help; the cause stays the network's exception."""
    try:
        yield
    except NetworkError as error:
        raise NetworkError(f"{error}; {_advice(model, x)}") from error.__cause__


def _advice(model: Model, x: Any) -> str:
    if not isinstance(x, Tensor):
        return f"inputs= are given by name to its forward, which takes {', '.join(_arguments(model))}"
    own, running = model.input_layout, []
    for layout in INPUT_LAYOUTS:
        with suppress(VidcamError, RuntimeError):
            if layout != own:
                capture(model.net, arranged(as_clips(x, own), layout), layers=())
                running.append(f"input_layout={layout!r}")
    if running:
        return f"{own!r} was assumed; it runs with {' or '.join(running)}"
    needed = _arguments(model)
    if len(needed) > 1:
        return f"{own!r} was assumed; its forward takes {', '.join(needed)}: give inputs=, or wrap it"
    return (
        f"{own!r} was assumed, input_layout=; frames= is {model.frames}, and size and colors come from preprocessing="
    )


def _arguments(model: Model) -> list[str]:
    """Name the arguments that the network's forward needs."""
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(model.net.forward).parameters.values()
        return [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    return []
