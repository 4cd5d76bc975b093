"""Which layers influence a score."""

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from vidcam.attribution.capturing import INPUT, capture
from vidcam.attribution.question import Question
from vidcam.errors import LayerError


def no_influence(question: Question) -> str:
    """Say that a layer's gradient is zero, and name the last layer whose gradient is not."""
    net, x, layer = question.net, question.x, question.layer
    say = f"layer {layer!r} does not influence the score: its gradient is zero everywhere"
    if not capture(net, x, layers=[INPUT], scores=[question.score]).gradients[0][INPUT].any():
        return f"{say}, and so is the input's (is the fit perfect, or the score constant?)"
    names = [name for name in _backwards(net) if name != layer]
    deepest = max(layer.count("."), 1)  # blocks before what they are made of, also for a layer outside all blocks
    for name in sorted(names, key=lambda name: name.count(".") > deepest):
        try:
            g = replace(question, layer=name).about(x).gradients
        except LayerError:
            continue  # not reached, or not readable as this grid
        if g.ndim > 2 and g.any():
            return f"{say}; try {name!r}"
    return f"{say}, and so is every other layer's that reads alike"


def _backwards(net: nn.Module, prefix: str = "") -> Iterator[str]:
    """Name the modules from the last to the first, each before its own parts."""
    for name, child in reversed(list(net.named_children())):
        yield prefix + name
        yield from _backwards(child, f"{prefix}{name}.")
