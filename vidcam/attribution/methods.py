"""Methods: what a user picks by name, `(captured activations and gradients, or more forwards) -> heat`."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vidcam.attribution.cam import CAMS, divide, pooled
from vidcam.attribution.capture import INPUT, Captured, Score, capture
from vidcam.attribution.features import FEATURES
from vidcam.attribution.layers import first_tensor, infer_layout, input_layout, read_grid
from vidcam.attribution.scores import class_score, logits, minus
from vidcam.errors import LayerError, OptionError, unknown

Grid = tuple[int, int, int] | Callable[[int], tuple[int, int, int]]
"""(t, h, w) of a layer that returns tokens, or a function that tells it from the number of tokens."""

SMOOTH = "smooth_grad_cam_pp"
METHODS: dict[str, str] = {
    **{name: (f.__doc__ or "").partition("\n")[0] for name, f in {**CAMS, **FEATURES}.items()},
    SMOOTH: "Grad-CAM++ with derivatives averaged over noisy copies of the input (Omeiza et al. 2019; 1908.01224).",
}
"""Every method's name and the first line of what it is."""


def check_method(method: str) -> str:
    """Return the method's name; an OptionError names near matches."""
    if method not in METHODS:
        raise OptionError(unknown("method", method, METHODS))
    return method


def cam(
    net: nn.Module,
    x: Any,
    *,
    layer: str,
    target: int | str | Sequence[int] | Tensor | Score | None = None,
    method: str = "grad_cam",
    pooling: str = "slot",
    layout: str | None = None,
    grid: Grid | None = None,
) -> Tensor:
    """Explain a network's answer to a tensor: raw heat (B, t, h, w), or (B, h, w) where the layer has no time.

    The network is left as it was found. Heat has the layer's own resolution; `vidcam.attribution.geometry` tells
    where its cells lie in the input.

    Args:
        net: any network.
        x: its input: (B, C, T, H, W), an image (B, C, H, W), a tuple of arguments, or a mapping of keyword arguments.
        layer: a name as in `net.named_modules()`; `vidcam.attribution.layers` says how layers are read.
        target: a class's index, one index per sample, or a score `output -> (B,)` as in
            `vidcam.attribution.scores`; None explains each sample's most likely class.
        method: a name of `METHODS`.
        pooling: whether channel weights are means over each "slot" or over the whole "clip".
        layout: einops pattern of the layer's output, as "b t h w c"; None tells it from the shape where it can.
        grid: sizes (t, h, w) of a layer that returns tokens, "b (t h w) c".

    Raises:
        LayerError: the layer does not exist, has no grid, or does not influence the score.
        OptionError: no such method or pooling.
        TargetError: no such class.
    """
    check_method(method)
    score = _score(target)
    captured = capture(net, x, layers=[layer], scores=[] if method in FEATURES else [score])
    heat, zero = heat_of(net, x, captured, layer, score, method=method, pooling=pooling, layout=layout, grid=grid)
    if zero:
        raise LayerError(no_influence(net, x, layer, score, layout=layout, grid=grid))
    return heat


def heat_of(
    net: nn.Module,
    x: Any,
    captured: Captured,
    layer: str,
    score: Score,
    *,
    method: str = "grad_cam",
    pooling: str = "slot",
    layout: str | None = None,
    grid: Grid | None = None,
    which: int = 0,
    signed: bool = False,
) -> tuple[Tensor, bool]:
    """Compute heat from a capture, and tell whether the gradient that it rests on is zero everywhere.

    Args:
        net: the captured network; used by methods that need more forwards.
        x: the captured input.
        captured: what `capture` returned; its score number `which` is explained.
        layer: which of its layers.
        score: the score itself, for methods that need more forwards.
        method: a name of `METHODS`.
        pooling: "slot" or "clip".
        layout: as in `cam`.
        grid: as in `cam`.
        which: index into the captured scores.
        signed: whether to keep what lowers the score, below zero: the heat of the score less that of minus the score.
    """
    a = read(captured, captured.activations[layer], layer, x, layout=layout, grid=grid)
    if method in FEATURES:
        return FEATURES[method](a), False  # their statistics are the whole clip's
    g = read(captured, captured.gradients[which][layer], layer, x, layout=layout, grid=grid)
    zero = g.numel() > 0 and not g.any()
    if method == SMOOTH:
        smooth = partial(smooth_grad_cam_pp, net, x, layer=layer, a=a, pooling=pooling, layout=layout, grid=grid)
        return (smooth(score=score) - smooth(score=minus(score)) if signed else smooth(score=score)), zero
    formula = pooled(CAMS[method], pooling, a.ndim - 2)
    return (formula(a, g) - formula(a, -g) if signed and method != "cam" else formula(a, g)), zero


def read(
    captured: Captured,
    tensor: Tensor,
    layer: str,
    x: Any,
    *,
    layout: str | None = None,
    grid: Grid | None = None,
) -> Tensor:
    """Read a captured activation or gradient as (B, C, *S), in float32 or finer."""
    given = first_tensor(x)
    assert given is not None  # capture has refused inputs without a tensor
    sizes: tuple[int, ...] | None = None
    if tensor.ndim == 3:  # only tokens need to be told
        sizes = captured.grids.get(layer) or (grid(tensor.shape[1]) if callable(grid) else grid)
    if layout is None:
        layout = input_layout(given) if layer == INPUT else infer_layout(tensor.shape, given, grid=sizes)
    tensor = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return read_grid(tensor, layout, batch=given.shape[0], grid=sizes)


def smooth_grad_cam_pp(
    net: nn.Module,
    x: Tensor,
    score: Score,
    layer: str,
    *,
    a: Tensor | None = None,
    samples: int = 4,
    noise: float = 0.15,
    seed: int = 0,
    pooling: str = "slot",
    layout: str | None = None,
    grid: Grid | None = None,
) -> Tensor:
    """Average the derivatives of Grad-CAM++ over noisy inputs (Omeiza et al. 2019; 1908.01224).

    With D1, D2, D3 the means of G, G^2, G^3 over the samples: alpha = D2 / (2 D2 + D3 sum_q A(q)),
    w_k = sum_p alpha_k ReLU(D1_k). A is the clean input's. The numerator is D2, as in Grad-CAM++, where the paper
    prints D1. The noise is normal, independent over frames and pixels, the same for all samples of the batch.

    Args:
        net: any network; left as it was found.
        x: its input, one tensor.
        score: `output -> (B,)`.
        layer: a name as in `net.named_modules()`.
        a: the clean input's activations (B, C, *S) if they are known already.
        samples: noisy copies.
        noise: standard deviation as a share of each sample's range.
        seed: of the noise; the same seed gives the same heat.
        pooling: "slot" or "clip".
        layout: as in `cam`.
        grid: as in `cam`.
    """
    if not isinstance(x, Tensor):
        raise OptionError(f"{SMOOTH} adds noise to one input tensor; given {type(x).__name__}")
    if samples < 1 or noise < 0:
        raise OptionError(f"{SMOOTH} needs samples >= 1 and noise >= 0; given {samples} and {noise}")
    if a is None:
        clean = capture(net, x, layers=[layer])
        a = read(clean, clean.activations[layer], layer, x, layout=layout, grid=grid)
    generator = torch.Generator().manual_seed(seed)
    x = x.detach()
    spread = noise * (x.amax(dim=(*range(1, x.ndim),), keepdim=True) - x.amin(dim=(*range(1, x.ndim),), keepdim=True))
    moments = [torch.zeros_like(a) for _ in range(3)]
    for _ in range(samples):
        noisy = x + spread * torch.randn(x.shape[1:], generator=generator).to(x)
        captured = capture(net, noisy, layers=[layer], scores=[score])
        g = read(captured, captured.gradients[0][layer], layer, x, layout=layout, grid=grid)
        moments = [moment + g**power / samples for power, moment in enumerate(moments, 1)]
    return pooled(lambda a, d: _smooth(a, *d.chunk(3, dim=1)), pooling, a.ndim - 2)(a, torch.cat(moments, dim=1))


def _smooth(a: Tensor, d1: Tensor, d2: Tensor, d3: Tensor) -> Tensor:
    """Weigh the clean activations by the averaged derivatives, each (B, C, *S) -> (B, *S)."""
    positions = tuple(range(2, a.ndim))
    alpha = divide(d2, 2 * d2 + d3 * a.sum(positions, keepdim=True))
    weights = (alpha * d1.relu()).sum(positions, keepdim=True)
    return (weights * a).sum(1).relu()


def no_influence(
    net: nn.Module,
    x: Any,
    layer: str,
    score: Score,
    *,
    layout: str | None = None,
    grid: Grid | None = None,
) -> str:
    """Say that a layer's gradient is zero, and name the last layer whose gradient is not."""
    say = f"layer {layer!r} does not influence the score: its gradient is zero everywhere"
    if not capture(net, x, layers=[INPUT], scores=[score]).gradients[0][INPUT].any():
        return f"{say}, and so is the input's (is the fit perfect, or the score constant?)"
    names = [name for name in _backwards(net) if name != layer]
    deepest = max(layer.count("."), 1)  # blocks before what they are made of, also for a layer outside all blocks
    for name in sorted(names, key=lambda name: name.count(".") > deepest):
        try:
            captured = capture(net, x, layers=[name], scores=[score])
            g = read(captured, captured.gradients[0][name], name, x, layout=layout, grid=grid)
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


def _score(target: Any) -> Score:
    """Return the score for what the user gave as a target."""
    if callable(target):
        return target  # type: ignore[no-any-return]
    return most_likely if target is None else class_score(target)


def most_likely(output: Any) -> Tensor:
    """Return each sample's highest logit, (B,)."""
    values = logits(output)
    if values.ndim != 2:
        raise OptionError(f"the most likely class needs an output of shape (B, K); given {tuple(values.shape)}")
    return values.max(dim=1).values
