"""Blending windows and filling in frames, by hand."""

import numpy as np
import pytest

from vidcam.explaining.mapping import blend, fill, of_whole_frames

SECONDS = np.arange(8) / 10


def column(*values: float) -> np.ndarray:
    """(T, 1, 1)"""
    return np.array(values, float)[:, None, None]


def test_two_windows_weigh_by_their_middles() -> None:
    """Windows of 4 weigh 1, 2, 2, 1; frames 2 and 3 are in both."""
    parts = {0: column(6, 6, 6, 6), 2: column(0, 0, 0, 0)}
    frames = {0: (0, 1, 2, 3), 2: (2, 3, 4, 5)}
    found = blend(parts, frames, SECONDS[:6], nearest=False)[:, 0, 0]
    np.testing.assert_allclose(found, [6, 6, 6 * 2 / 3, 6 * 1 / 3, 0, 0])


def test_an_odd_window_weighs_1_2_1() -> None:
    found = blend({0: column(4, 4, 4), 1: column(8, 8, 8)}, {0: (0, 1, 2), 1: (1, 2, 3)}, SECONDS[:4], nearest=False)
    np.testing.assert_allclose(found[:, 0, 0], [4, (2 * 4 + 8) / 3, (4 + 2 * 8) / 3, 8])


def test_a_repeated_frame_gets_the_weighted_mean_of_its_samples() -> None:
    """Frame 0 three times with weights 1, 2, 2, then frame 1 once."""
    found = blend({0: column(5, 1, 2, 7)}, {0: (0, 0, 0, 1)}, SECONDS[:2], nearest=False)
    np.testing.assert_allclose(found[:, 0, 0], [(5 + 2 * 1 + 2 * 2) / 5, 7])


def test_frames_between_samples_are_interpolated() -> None:
    found = blend({0: column(0, 1, 3)}, {0: (0, 2, 5)}, SECONDS, nearest=False)[:, 0, 0]
    np.testing.assert_allclose(found, [0, 0.5, 1, 1 + 2 / 3, 1 + 4 / 3, 3, 3, 3])


def test_or_take_the_nearest_the_earlier_of_a_tie() -> None:
    found = blend({0: column(0, 1, 3)}, {0: (0, 2, 5)}, SECONDS, nearest=True)[:, 0, 0]
    np.testing.assert_allclose(found, [0, 0, 1, 1, 3, 3, 3, 3])


def test_interpolation_is_in_time_not_in_frames() -> None:
    seconds = np.array([0.0, 0.1, 1.0])
    found = blend({0: column(0, 10)}, {0: (0, 2)}, seconds, nearest=False)[:, 0, 0]
    np.testing.assert_allclose(found, [0, 1, 10])


@pytest.mark.parametrize("nearest", [False, True])
def test_a_single_known_frame_serves_all(nearest: bool) -> None:
    found = blend({0: column(2, 4, 6)}, {0: (1, 1, 1)}, SECONDS, nearest=nearest)
    np.testing.assert_allclose(found[:, 0, 0], np.full(8, (2 + 2 * 4 + 6) / 4))


def test_the_order_of_windows_does_not_matter_and_cells_stay_apart() -> None:
    rng = np.random.default_rng(0)
    parts = {start: rng.random((4, 2, 3)) for start in (0, 2, 4)}
    frames = {start: tuple(range(start, start + 4)) for start in parts}
    forward = blend(parts, frames, SECONDS, nearest=False)
    backward = blend(dict(reversed(parts.items())), frames, SECONDS, nearest=False)
    np.testing.assert_allclose(forward, backward)
    one = blend({k: v[:, 1:, 2:] for k, v in parts.items()}, frames, SECONDS, nearest=False)
    np.testing.assert_allclose(forward[:, 1:, 2:], one)


def test_equal_windows_blend_to_themselves() -> None:
    truth = np.random.default_rng(0).random((8, 2, 2))
    frames = {start: tuple(range(start, start + 4)) for start in (0, 1, 3, 4)}
    found = blend({s: truth[list(f)] for s, f in frames.items()}, frames, SECONDS, nearest=False)
    np.testing.assert_allclose(found, truth)


def test_attention_without_space_blends_as_well() -> None:
    found = blend({0: np.array([1.0, 2, 3, 4])}, {0: (0, 1, 2, 3)}, SECONDS[:4], nearest=False)
    np.testing.assert_allclose(found, [1, 2, 3, 4])


def test_fill_is_constant_beyond_the_ends() -> None:
    found = fill(np.array([1.0, 2.0]), np.array([0.2, 0.4]), np.array([0.0, 0.2, 0.3, 0.4, 9.0]), nearest=False)
    np.testing.assert_allclose(found, [1, 1, 1.5, 2, 2])


def test_shares_of_a_frame_that_comes_several_times_add_up() -> None:
    """Frame 7 fills three of five places, and what its samples got is its own, at each of them."""
    found = of_whole_frames(np.array([0.1, 0.2, 0.3, 0.15, 0.25], np.float32), (4, 5, 7, 7, 7))
    np.testing.assert_allclose(found, [0.1, 0.2, 0.7, 0.7, 0.7], rtol=1e-6)
    apart = np.random.default_rng(0).random((4, 2)).astype(np.float32)
    np.testing.assert_array_equal(of_whole_frames(apart, (0, 1, 2, 3)), apart)


def test_a_window_that_cuts_a_repeated_frame_counts_for_less() -> None:
    """Frame 1 has one place in window 0, weight 1, and two in window 1, weights 1 and 2: (0.4 + 3 x 0.9) / 4."""
    parts = {0: np.array([0.3, 0.3, 0.4]), 2: np.array([0.5, 0.4, 0.1])}
    frames = {0: (0, 0, 1), 2: (1, 1, 2)}
    whole = {start: of_whole_frames(part, frames[start]) for start, part in parts.items()}
    np.testing.assert_allclose(blend(whole, frames, SECONDS[:3], nearest=False), [0.6, (0.4 + 3 * 0.9) / 4, 0.1])
