"""Methods that average over noisy copies of the input."""

import torch
from torch import Tensor

from vidcam.attribution.containers import map_tensors
from vidcam.attribution.formulas import divide, pooled, total, weigh
from vidcam.attribution.question import Method, Question, method
from vidcam.errors import OptionError

SAMPLES = 4


def smooth_grad_cam_pp(question: Question, *, samples: int = SAMPLES, noise: float = 0.15, seed: int = 0) -> Tensor:
    """Grad-CAM++ with derivatives averaged over noisy copies of the input (Omeiza et al. 2019; 1908.01224).

    With D1, D2, D3 the means of G, G^2, G^3 over the samples: alpha = D2 / (2 D2 + D3 sum_q A(q)),
    w_k = sum_p alpha_k ReLU(D1_k). A is the clean input's. The numerator is D2, as in Grad-CAM++, where the paper
    prints D1. The noise is normal, independent over frames and pixels, the same for all samples of the batch; each of
    several inputs gets its own.

    Args:
        question: about a network's answer to an input.
        samples: noisy copies.
        noise: standard deviation as a share of each sample's range, of every input its own.
        seed: of the noise; the same seed gives the same heat.
    """
    if samples < 1 or noise < 0:
        raise OptionError(f"smooth_grad_cam_pp needs samples >= 1 and noise >= 0; given {samples} and {noise}")
    generator, a = torch.Generator().manual_seed(seed), question.activations

    def noisy(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return x
        every = (*range(1, x.ndim),)
        spread = noise * (x.amax(dim=every, keepdim=True) - x.amin(dim=every, keepdim=True))
        return x.detach() + spread * torch.randn(x.shape[1:], generator=generator).to(x)

    moments = [torch.zeros_like(a) for _ in range(3)]
    for _ in range(samples):
        g = question.about(map_tensors(question.x, noisy)).gradients
        moments = [moment + g**power / samples for power, moment in enumerate(moments, 1)]
    smooth = pooled(lambda a, d: _smooth(a, *d.chunk(3, dim=1)), question.pooling, a.ndim - 2)
    return smooth(a, torch.cat(moments, dim=1))


def _smooth(a: Tensor, d1: Tensor, d2: Tensor, d3: Tensor) -> Tensor:
    """Weigh the clean activations by the averaged derivatives, each (B, C, *S) -> (B, *S)."""
    alpha = divide(d2, 2 * d2 + d3 * total(a))
    return weigh(total(alpha * d1.relu()), a)


METHODS: tuple[Method, ...] = (method(smooth_grad_cam_pp, smooth_grad_cam_pp, forwards=SAMPLES),)
