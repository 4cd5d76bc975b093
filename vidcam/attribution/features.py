"""Maps from features alone: no gradient, no class. `A: (B, C, *S)` -> `(B, *S)`."""

from collections.abc import Callable

import torch
from torch import Tensor

from vidcam.attribution.question import Method, method
from vidcam.errors import ModelError


def eigen_cam(a: Tensor) -> Tensor:
    """Project the centered features on their first principal direction (Muhammad and Yeasin 2020; 2008.00299).

    The direction's sign is undetermined; it is turned so that positions with larger features are positive, and the
    negative part is cut.
    """
    _check_finite(a)
    flat = a.flatten(2).transpose(1, 2).double()  # (B, P, C)
    centered = flat - flat.mean(dim=1, keepdim=True)
    direction = torch.linalg.svd(centered, full_matrices=False).Vh[:, 0]  # (B, C)
    heat = torch.einsum("bpc,bc->bp", centered, direction)
    agreement = (heat * flat.sum(2)).sum(1, keepdim=True)
    turned = torch.where(agreement < 0, -heat, heat)
    return turned.relu().to(a.dtype).reshape(a.shape[0], *a.shape[2:])


def fem(a: Tensor, *, k: float = 2.0) -> Tensor:
    """Count strong features, weighted by their mean: sum_k mu_k [A_k >= mu_k + k s_k] (Fuad et al. 2020).

    mu_k and s_k are the channel's mean and standard deviation over all positions. Channels with a negative mean
    can make the sum negative; it is cut at 0.
    """
    _check_finite(a)
    dims = tuple(range(2, a.ndim))
    mean = a.mean(dim=dims, keepdim=True)
    deviation = ((a - mean) ** 2).mean(dim=dims, keepdim=True).sqrt()
    strong = a >= mean + k * deviation
    # a constant channel is as strong as itself everywhere: it tells nothing
    varies = a.amax(dim=dims, keepdim=True) > a.amin(dim=dims, keepdim=True)
    return (mean * (strong & varies)).sum(1).relu()


def _check_finite(a: Tensor) -> None:
    if not torch.isfinite(a).all():
        raise ModelError("the layer's features are not finite (NaN or infinite); check the weights and the input")


def row(formula: Callable[[Tensor], Tensor]) -> Method:
    """Make a formula of features alone a method."""
    facts = {"uses_score": False, "uses_gradient": False, "pools_by_slot": False}
    return method(lambda question: formula(question.activations), formula, **facts)


METHODS: tuple[Method, ...] = (row(eigen_cam), row(fem))
