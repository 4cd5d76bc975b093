"""Maps from features alone: by hand, by another route, and what they do with nothing to see."""

import itertools
import statistics

import pytest
import torch

from vidcam.attribution.features import METHODS, eigen_cam, fem
from vidcam.attribution.formulas import pooled

ROOT5 = 5**0.5

FEATURES = {"eigen_cam": eigen_cam, "fem": fem}


def test_eigen_cam_by_hand() -> None:
    """The second channel is twice the first: the direction is (1, 2) / sqrt 5, the projection sqrt 5 (A - mean A)."""
    first = torch.tensor([1.0, 2, 3, 0]).reshape(1, 1, 2, 1, 2)
    a = torch.cat([first, 2 * first], dim=1)
    expected = {"clip": [0, 0.5 * ROOT5, 1.5 * ROOT5, 0], "slot": [0, 0.5 * ROOT5, 1.5 * ROOT5, 0]}
    for pooling, numbers in expected.items():
        heat = pooled(lambda a, _: eigen_cam(a), pooling, 3)(a, a)
        torch.testing.assert_close(heat.flatten(), torch.tensor(numbers))


def test_eigen_cam_of_slots_is_centered_on_each() -> None:
    a = torch.tensor([1.0, 2, 7, 9]).reshape(1, 1, 2, 1, 2)
    slot = pooled(lambda a, _: eigen_cam(a), "slot", 3)(a, a)
    clip = pooled(lambda a, _: eigen_cam(a), "clip", 3)(a, a)
    torch.testing.assert_close(slot.flatten(), torch.tensor([0, 0.5, 0, 1]))
    torch.testing.assert_close(clip.flatten(), torch.tensor([0, 0, 2.25, 4.25]))


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4)])
def test_eigen_cam_by_power_iteration(shape: tuple[int, ...]) -> None:
    a = torch.randn(2, 6, *shape, dtype=torch.float64).relu()
    a[:, 1] += 2 * torch.rand(2, *shape, dtype=torch.float64)  # one direction well ahead of the next
    for sample, heat in zip(a, eigen_cam(a), strict=True):
        rows = sample.flatten(1).T
        rows = rows - rows.mean(0)
        direction = torch.ones(6, dtype=torch.float64)
        for _ in range(5000):
            direction = rows.T @ (rows @ direction)
            direction = direction / direction.norm()
        projected = rows @ direction
        turned = projected if (projected * sample.flatten(1).sum(0)).sum() > 0 else -projected
        torch.testing.assert_close(heat.flatten(), turned.clamp(min=0), rtol=1e-6, atol=1e-8)


def test_fem_by_hand() -> None:
    a = torch.zeros(1, 2, 2, 2, 2)
    a[0, 0, 0, 0, 0] = 8  # mean 1, deviation sqrt 7: threshold 6.3
    a[0, 1, 1, 1, 1] = 16  # mean 2, threshold 12.6
    expected = torch.zeros(1, 2, 2, 2)
    expected[0, 0, 0, 0], expected[0, 1, 1, 1] = 1, 2
    torch.testing.assert_close(fem(a), expected)
    # within one slot of four cells: mean 2, deviation sqrt 12: above 2 + 3.5, not above 2 + 6.9
    assert pooled(lambda a, _: fem(a), "slot", 3)(a, a).sum() == 0
    torch.testing.assert_close(pooled(lambda a, _: fem(a, k=1), "slot", 3)(a, a), 2 * expected)


@pytest.mark.parametrize("shape", [(4, 5), (3, 2, 4)])
@pytest.mark.parametrize("k", [1.0, 2.0])
def test_fem_by_loops(shape: tuple[int, ...], k: float) -> None:
    a = torch.randn(2, 3, *shape, dtype=torch.float64) ** 3
    expected = torch.zeros(2, *shape, dtype=torch.float64)
    for b, c in itertools.product(range(2), range(3)):
        values = a[b, c].flatten().tolist()
        mean, deviation = statistics.fmean(values), statistics.pstdev(values)
        for p in itertools.product(*(range(n) for n in shape)):
            expected[(b, *p)] += mean if a[(b, c, *p)] >= mean + k * deviation else 0
    torch.testing.assert_close(fem(a, k=k), expected.clamp(min=0))


def test_every_row_is_tested() -> None:
    assert [row.name for row in METHODS] == list(FEATURES)
    assert not any(row.uses_score or row.uses_gradient or row.pools_by_slot for row in METHODS)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_features_give_no_heat(name: str, dtype: torch.dtype) -> None:
    heat = FEATURES[name](torch.full((2, 3, 2, 4, 4), 0.1, dtype=dtype))
    assert heat.shape == (2, 2, 4, 4) and heat.dtype == dtype
    assert heat.abs().max() < 1e-6


@pytest.mark.parametrize("name", FEATURES)
def test_scale_of_features_scales_heat(name: str) -> None:
    a = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64).relu()
    torch.testing.assert_close(FEATURES[name](8 * a), 8 * FEATURES[name](a))


@pytest.mark.parametrize("name", FEATURES)
def test_empty_batch(name: str) -> None:
    assert FEATURES[name](torch.zeros(0, 3, 2, 4, 4)).shape == (0, 2, 4, 4)
