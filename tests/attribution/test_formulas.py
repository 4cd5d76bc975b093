"""CAM formulas: numbers worked out by hand, and the papers' sums written as plain loops."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vidcam.attribution import formulas
from vidcam.attribution.formulas import POOLINGS, divide, frame_contribution
from vidcam.errors import OptionError

# two channels on a grid of t=2, h=1, w=2
A = torch.tensor([[1.0, 2, 3, 0], [3, 2, 1, 4]], dtype=torch.float64).reshape(1, 2, 2, 1, 2)
G = torch.tensor([[1.0, -1, 2, 0], [0, 2, -2, -4]], dtype=torch.float64).reshape(1, 2, 2, 1, 2)
FLAT = torch.tensor([0.5, -1], dtype=torch.float64).reshape(1, 2, 1, 1, 1).expand_as(A)  # behind an average pool

CAMS = {row.name: getattr(formulas, row.name) for row in formulas.METHODS}


def pooled(name: str, pooling: str, axes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A formula with the pooling that its method is asked with."""
    row = next(row for row in formulas.METHODS if row.name == name)
    return formulas.pooled(CAMS[name], pooling if row.pools_by_slot else "clip", axes)


def test_every_formula_is_worked_out_by_hand(numbers: dict[tuple[str, str], list[float]]) -> None:
    assert {name for name, _ in numbers} == set(CAMS)


def test_by_hand(worked_out: tuple[str, str, list[float]]) -> None:
    name, pooling, numbers = worked_out
    heat = pooled(name, pooling, 3)(A, FLAT if name == "cam" else G)
    torch.testing.assert_close(heat.flatten(), torch.tensor(numbers, dtype=torch.float64))


def loops(name: str, a: Tensor, g: Tensor) -> Tensor:
    """The papers' sums for one sample, a and g: (C, *S), with nothing but numbers."""
    places = list(itertools.product(*(range(n) for n in a.shape[1:])))
    heat = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(a.shape[0]):
        act = {p: float(a[(k, *p)]) for p in places}
        grad = {p: float(g[(k, *p)]) for p in places}
        mean = sum(grad.values()) / len(places)
        weight: dict[tuple[int, ...], float] = {}
        for p in places:
            if name == "cam":
                weight[p] = sum(grad.values())
            elif name == "grad_cam":
                weight[p] = mean
            elif name == "counterfactual":
                weight[p] = -mean
            elif name == "sharpen_focus":
                weight[p] = sum(max(v, 0) for v in grad.values()) / len(places)
            elif name == "layer_cam":
                weight[p] = max(grad[p], 0)
            elif name == "hires_cam":
                weight[p] = grad[p]
            elif name == "x_grad_cam":
                weight[p] = sum(grad[q] * act[q] for q in places) / sum(act.values())
            elif name == "grad_cam_pp":
                weight[p] = 0
                for q in places:
                    below = 2 * grad[q] ** 2 + grad[q] ** 3 * sum(act.values())
                    weight[p] += (grad[q] ** 2 / below if below else 0) * max(grad[q], 0)
        for p in places:
            heat[p] += weight[p] * act[p]
    return heat if name == "cam" else heat.clamp(min=0)


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 2), (4,)])
@pytest.mark.parametrize("name", CAMS)
def test_equals_the_papers_sums(name: str, shape: tuple[int, ...]) -> None:
    a = torch.randn(2, 3, *shape, dtype=torch.float64).relu() + 0.01
    g = torch.randn(2, 3, *shape, dtype=torch.float64)
    g = g[..., :1].flatten(2)[..., 0].reshape(2, 3, *[1] * len(shape)).expand_as(a) if name == "cam" else g
    expected = torch.stack([loops(name, *each) for each in zip(a, g, strict=True)])
    torch.testing.assert_close(pooled(name, "clip", len(shape))(a, g), expected)


@pytest.mark.parametrize("name", sorted(set(CAMS) - {"cam"}))
def test_slots_are_explained_one_by_one(name: str) -> None:
    a = torch.randn(2, 3, 4, 3, 2, dtype=torch.float64).relu() + 0.01
    g = torch.randn(2, 3, 4, 3, 2, dtype=torch.float64)
    alone = [torch.stack([loops(name, a[b, :, t], g[b, :, t]) for t in range(4)]) for b in range(2)]
    torch.testing.assert_close(pooled(name, "slot", 3)(a, g), torch.stack(alone))


@pytest.mark.parametrize("name", CAMS)
def test_images_have_one_pooling(name: str) -> None:
    a, g = A[:, :, 0], FLAT[:, :, 0] if name == "cam" else G[:, :, 0]
    assert torch.equal(pooled(name, "slot", 2)(a, g), pooled(name, "clip", 2)(a, g))


def test_unknown_pooling_names_the_known() -> None:
    with pytest.raises(OptionError, match="did you mean 'slot'"):
        pooled("grad_cam", "slots", 3)
    assert POOLINGS == ("slot", "clip")


def test_cam_refuses_a_head_that_is_no_average() -> None:
    with pytest.raises(OptionError, match="global average pooling"):
        CAMS["cam"](A, G)


def test_grad_cam_pp_survives_tiny_gradients() -> None:
    """The square of 1e-25 is 0 in float32; alpha is 1/2 there all the same."""
    heat = CAMS["grad_cam_pp"](A.float(), 1e-25 * G.float())
    expected = 0.5 * (3 * A[:, 0] + 2 * A[:, 1])
    torch.testing.assert_close(heat.double() * 1e25, expected, rtol=1e-5, atol=0)


def test_grad_cam_pp_weight_is_zero_where_the_denominator_is() -> None:
    a = torch.tensor([[[-2.0]]])
    assert CAMS["grad_cam_pp"](a, torch.ones(1, 1, 1)).item() == 0  # 2 G^2 + G^3 sum A = 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_divide(dtype: torch.dtype) -> None:
    found = divide(torch.tensor([1.0, 0, 3], dtype=dtype), torch.tensor([0.0, 0, 2], dtype=dtype))
    assert found.tolist() == [0, 0, 1.5] and found.dtype == dtype


def test_frame_contribution_by_hand() -> None:
    # A minus its mean over both slots: channel 0 (-1, 1 | 1, -1), channel 1 (1, -1 | -1, 1)
    assert frame_contribution(A, G).tolist() == [[0, 0]]  # slot 0: -1-1+0-2, slot 1: 2+0+2-4
    assert frame_contribution(A, G, subtract_mean=False).tolist() == [[3, 0]]  # 1-2+0+4; 6+0-2-16
    assert frame_contribution(A, -G).tolist() == [[4, 0]]


@pytest.mark.parametrize("shape", [(4, 3, 2), (4, 3), (4,)])
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_frame_contribution_equals_its_sum(shape: tuple[int, ...], subtract_mean: bool) -> None:
    a, g = torch.randn(2, 3, *shape, dtype=torch.float64), torch.randn(2, 3, *shape, dtype=torch.float64)
    q = torch.zeros(2, 4, dtype=torch.float64)
    for b, t, k in itertools.product(range(2), range(4), range(3)):
        for p in itertools.product(*(range(n) for n in shape[1:])):
            mean = sum(float(a[(b, k, s, *p)]) for s in range(4)) / 4 if subtract_mean else 0
            q[b, t] += g[(b, k, t, *p)] * (a[(b, k, t, *p)] - mean)
    torch.testing.assert_close(frame_contribution(a, g, subtract_mean=subtract_mean), q.clamp(min=0))


def test_what_does_not_change_says_nothing_of_when() -> None:
    a = torch.rand(1, 3, 1, 2, 2, dtype=torch.float64).expand(1, 3, 4, 2, 2)
    heat = frame_contribution(a, torch.rand(1, 3, 4, 2, 2, dtype=torch.float64))
    assert math.isclose(float(heat.max()), 0, abs_tol=1e-12)


@pytest.mark.parametrize("formula", CAMS.values())
def test_formulas_leave_their_arguments_alone(formula: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, g = A.clone(), (FLAT if formula is CAMS["cam"] else G).clone()
    before = g.clone()
    formula(a, g)
    assert torch.equal(a, A) and torch.equal(g, before)
