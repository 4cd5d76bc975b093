"""The numbers that every formula is worked out to by hand, for the formula itself and for the method around it."""

import pytest

# two channels x and 4 - x of [[1, 2], [3, 0]] on a grid of t=2, h=1, w=2, whose gradients are [[1, -1], [2, 0]] and
# [[0, 2], [-2, -4]]; behind an average pool, for "cam", 0.5 and -1 everywhere
BY_HAND: dict[tuple[str, str], list[float]] = {
    ("cam", "clip"): [-10, -4, 2, -16],
    ("cam", "slot"): [-10, -4, 2, -16],
    ("grad_cam", "clip"): [0, 0, 0.5, 0],
    ("grad_cam", "slot"): [3, 2, 0, 0],
    ("counterfactual", "clip"): [2.5, 1, 0, 4],
    ("counterfactual", "slot"): [0, 0, 0, 12],
    ("sharpen_focus", "clip"): [2.25, 2.5, 2.75, 2],
    ("sharpen_focus", "slot"): [3.5, 3, 3, 0],
    ("layer_cam", "clip"): [1, 4, 6, 0],
    ("layer_cam", "slot"): [1, 4, 6, 0],
    ("hires_cam", "clip"): [1, 2, 4, 0],
    ("hires_cam", "slot"): [1, 2, 4, 0],
    ("x_grad_cam", "clip"): [0, 0, 1.1, 0],
    ("x_grad_cam", "slot"): [2.4 - 1 / 3, 1.6 - 2 / 3, 2.4, 0],
    ("grad_cam_pp", "clip"): [15 / 56 + 3 / 11, 30 / 56 + 2 / 11, 45 / 56 + 1 / 11, 4 / 11],
    ("grad_cam_pp", "slot"): [0.7, 0.4 + 1 / 3, 0.75, 0],
}


@pytest.fixture
def numbers() -> dict[tuple[str, str], list[float]]:
    """Heat by formula and pooling, cell by cell."""
    return BY_HAND


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with an argument `worked_out` every formula, pooling and its numbers."""
    if "worked_out" in metafunc.fixturenames:
        rows = [(*key, values) for key, values in BY_HAND.items()]
        metafunc.parametrize("worked_out", rows, ids=["-".join(key) for key in BY_HAND])
