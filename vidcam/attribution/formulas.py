"""Class activation maps as pure functions: activations and gradients of a layer -> heat.

`A, G: (B, C, *S)` -> `(B, *S)`, where S has any number of axes. To add one, write the function, with the paper in
brackets at the end of its first line, and put its name into the rows at the end. Sums over positions p run over all of
S; `pooled` lets them run over each slot alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vidcam.attribution.question import Method, Question, method
from vidcam.errors import OptionError, unknown

Formula = Callable[[Tensor, Tensor], Tensor]
POOLINGS = ("slot", "clip")


def _mean(x: Tensor) -> Tensor:
    """(B, C, *S) -> (B, C, *1): the mean over all positions."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def total(x: Tensor) -> Tensor:
    """(B, C, *S) -> (B, C, *1): the sum over all positions."""
    return x.sum(dim=tuple(range(2, x.ndim)), keepdim=True)


def weigh(weights: Tensor, a: Tensor) -> Tensor:
    """(B, C, *S) or (B, C, *1), (B, C, *S) -> (B, *S): the positive part of the weighted sum over channels."""
    return (weights * a).sum(1).relu()


def cam(a: Tensor, g: Tensor) -> Tensor:
    """Weigh channels by the classifier's own weights, signed: sum_k w_k A_k (Zhou et al. 2016; 1512.04150).

    In time as well these are Saliency Tubes (Stergiou et al. 2019). Behind a global average pool and one linear
    layer the gradient is w_k / |S| everywhere, which is where the weights are read from.

    Raises:
        OptionError: the layer is not followed by global average pooling and one linear layer.
    """
    weights = total(g)
    # an empty batch has no largest gradient
    if g.numel() and not torch.allclose(g, _mean(g).expand_as(g), rtol=1e-3, atol=1e-5 * float(g.abs().max())):
        raise OptionError(
            "method 'cam' needs global average pooling and one linear layer right behind the layer, but here the "
            "gradient differs between positions; choose the last layer before the pooling, or 'hires_cam'"
        )
    return (weights * a).sum(1)


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Weigh channels by their mean gradient: ReLU(sum_k mean_p(G_k) A_k) (Selvaraju et al. 2017; 1610.02391)."""
    return weigh(_mean(g), a)


def counterfactual(a: Tensor, g: Tensor) -> Tensor:
    """Show what speaks against the score: Grad-CAM of minus the score (Selvaraju et al. 2017, section 7)."""
    return weigh(_mean(-g), a)


def grad_cam_pp(a: Tensor, g: Tensor) -> Tensor:
    """Weigh positive gradients by their share: Grad-CAM++ (Chattopadhay et al. 2018, eq. 19; 1710.11063).

    w_k = sum_p alpha_k ReLU(G_k), alpha_k = G^2 / (2 G^2 + G^3 sum_q A_k(q)), for the score exp(y).
    """
    # G^2 is cancelled, because the square and cube of a small gradient are 0 in float32
    return weigh(total(divide(g.relu(), 2 + g * total(a))), a)


def x_grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Weigh channels by their activation-normalized gradient: w_k = sum_p G_k A_k / sum_p A_k (Fu et al. 2020)."""
    return weigh(divide(total(g * a), total(a)), a)


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """Weigh each position by its own positive gradient: ReLU(sum_k ReLU(G_k) A_k) (Jiang et al. 2021)."""
    return weigh(g.relu(), a)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """Weigh each position by its own gradient: ReLU(sum_k G_k A_k) (Draelos and Carin 2020; 2011.08891)."""
    return weigh(g, a)


def sharpen_focus(a: Tensor, g: Tensor) -> Tensor:
    """Weigh channels by their mean positive gradient: ReLU(sum_k mean_p(ReLU(G_k)) A_k) (Wang et al. 2019)."""
    return weigh(_mean(g.relu()), a)


def divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, 0 where the denominator is 0 or too small for its type."""
    safe = denominator.abs() > torch.finfo(denominator.dtype).tiny
    return torch.where(safe, numerator / torch.where(safe, denominator, 1), 0)


def pooled(formula: Formula, pooling: str, axes: int) -> Formula:
    """Choose how sums run over a grid with so many axes: over each "slot", or over the whole "clip".

    They agree behind global average pooling and differ elsewhere. Grids without time have only one way.
    """
    check_pooling(pooling)
    if pooling == "clip" or axes != 3:
        return formula

    def per_slot(a: Tensor, g: Tensor) -> Tensor:
        heat = formula(a.transpose(1, 2).flatten(0, 1), g.transpose(1, 2).flatten(0, 1))  # time is in the batch
        return heat.reshape(a.shape[0], a.shape[2], *heat.shape[1:])

    return per_slot


def check_pooling(pooling: str) -> None:
    """Raise an OptionError unless there is such a pooling."""
    if pooling not in POOLINGS:
        raise OptionError(unknown("pooling", pooling, POOLINGS))


def frame_contribution(a: Tensor, g: Tensor, *, subtract_mean: bool = True) -> Tensor:
    """Tell how much each slot adds to the score, against the clip's own average: (B, C, t, *S) -> (B, t).

    q(f) = ReLU(sum over c, h, w of G * (A - mean_f A)). What stays the same in all frames says nothing of *when*.
    """
    change = a - a.mean(dim=2, keepdim=True) if subtract_mean else a
    return (g * change).flatten(3).sum(dim=(1, 3)).relu() if a.ndim > 3 else (g * change).sum(1).relu()


def row(formula: Formula, **facts: Any) -> Method:
    """Make a formula a method."""

    def run(question: Question) -> Tensor:
        a, g = question.activations, question.gradients
        return pooled(formula, question.pooling, a.ndim - 2)(a, g)

    return method(run, formula, **facts)


METHODS: tuple[Method, ...] = (
    row(cam, signed=True, pools_by_slot=False),
    *map(row, (grad_cam, grad_cam_pp, x_grad_cam, layer_cam, hires_cam, sharpen_focus)),
    row(counterfactual, against=True),
)
