"""Methods: the one table, and `cam`, which explains a network's answer to a tensor."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from vidcam.attribution import features, formulas, smoothing
from vidcam.attribution.capturing import Score, capture
from vidcam.attribution.endings import BeforeEnding
from vidcam.attribution.layers import INPUT, layer_name
from vidcam.attribution.question import Method, Question, TokenGrid
from vidcam.attribution.scores import Which, by_class, class_score, logits
from vidcam.errors import LayerError, OptionError, unknown

METHODS: dict[str, Method] = {row.name: row for row in (*formulas.METHODS, *features.METHODS, *smoothing.METHODS)}
"""Every method by its name."""


def find_method(name: str) -> Method:
    """Return the method of that name; an OptionError names near matches."""
    if name not in METHODS:
        raise OptionError(unknown("method", name, METHODS))
    return METHODS[name]


def cam(
    net: nn.Module,
    x: Any,
    *,
    layer: str | nn.Module,
    target: int | str | Sequence[int] | Tensor | Score | None = None,
    method: str = "grad_cam",
    pooling: str = "slot",
    layout: str | None = None,
    grid: TokenGrid | None = None,
    output: Which = None,
) -> Tensor:
    """Explain a network's answer to a tensor: raw heat (B, t, h, w), or (B, h, w) where the layer has no time.

    The network is left as it was found; one that keeps a state from call to call answers from where it stands. Heat has
    the layer's own resolution; `vidcam.attribution.geometry` tells where its cells lie in the input.

    Args:
        net: any network.
        x: its input: (B, C, T, H, W), an image (B, C, H, W), a tuple of arguments, or a mapping of keyword arguments.
        layer: a name as in `net.named_modules()`, or the module; `vidcam.attribution.layers` says how layers are read.
            Of one that returns several tensors "rnn[0]" or "stage[slow]" names one.
        target: a class's index, one index per sample, or a score `output -> (B,)` as in
            `vidcam.attribution.scores`; None explains each sample's most likely class.
        method: a name of `METHODS`.
        pooling: whether channel weights are means over each "slot" or over the whole "clip".
        layout: einops pattern of the layer's output, as "b t h w c"; None tells it from the shape where it can.
        grid: sizes (t, h, w) of a layer that returns tokens, "b (t h w) c".
        output: which part of the network's output holds the classes: a key or field, an index, or a function.

    Raises:
        LayerError: the layer does not exist, has no grid, or does not influence the score.
        OptionError: no such method or pooling.
        TargetError: no such class.
    """
    chosen, layer = find_method(method), layer_name(net, layer)
    if callable(target):
        score = target
    else:
        of_answer = most_likely if target is None else class_score(target).score
        score = BeforeEnding(lambda said: logits(said, output), of_answer)
    formulas.check_pooling(pooling)
    scores = [score] if chosen.uses_score else []
    captured = capture(net, x, layers=[layer], scores=scores, gradients=chosen.uses_gradient)
    question = Question(
        net,
        x,
        captured.names.get(layer, layer),
        score,
        captured,
        pooling=pooling,
        layout=layout,
        grid=grid,
        guessed=layout is None,
    )
    heat = chosen.heat(question)
    if chosen.uses_gradient and question.is_blind:
        raise LayerError(no_influence(question))
    return heat


def most_likely(values: Tensor) -> Tensor:
    """Return each sample's highest logit, (B,)."""
    values = by_class(values)
    if values.ndim != 2:
        raise OptionError(f"the most likely class needs an output of shape (B, K); given {tuple(values.shape)}")
    return values.max(dim=1).values


def no_influence(question: Question) -> str:
    """Say that a layer's gradient is zero, and name the last layer whose gradient is not."""
    net, x, layer = question.net, question.x, question.layer
    say = f"layer {layer!r} does not influence the score: its gradient is zero everywhere"
    if not capture(net, x, layers=[INPUT], scores=[question.score]).gradients[0][INPUT].any():
        return (
            f"{say}, and so is the input's (is the fit perfect, or the score constant? quantized networks have no "
            "gradients; methods that need none, as eigen_cam, work there)"
        )
    names = [name for name in _backwards(net) if name != layer]
    deepest = max(layer.count("."), 1)  # blocks before what they are made of, also for a layer outside all blocks
    for name in sorted(names, key=lambda name: name.count(".") > deepest):
        try:
            g = replace(question, layer=name, settled=False).about(x).gradients
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
