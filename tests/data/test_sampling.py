"""Frames at a rate, and windows that hold every sample."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from vidcam.data.sampling import longest_step, sample, stretches, windows
from vidcam.errors import OptionError


@dataclass(frozen=True)
class At:
    seconds: float


def picks(seconds: list[float], rate: float | None) -> list[int]:
    frames = [At(second) for second in seconds]
    return [frames.index(frame) for frame in sample(frames, rate)]


def even(count: int, rate: Fraction, start: float = 0.0) -> list[float]:
    return [start + float(i / rate) for i in range(count)]


@pytest.mark.parametrize("start", [0.0, 7.3, -1.5])
def test_half_the_rate_takes_every_other_frame(start: float) -> None:
    assert picks(even(10, Fraction(30), start), 15) == [0, 2, 4, 6, 8]
    assert picks(even(11, Fraction(30), start), 15) == [0, 2, 4, 6, 8, 10]


def test_of_29_97() -> None:
    found = picks(even(300, Fraction(30000, 1001)), 15)
    assert found[:8] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert len(found) == 150  # the last frame is shown at 9.977 s and the clock stops half a frame later: 149 / 15
    assert {*np.diff(found)} <= {1, 2}
    times = np.array(even(300, Fraction(30000, 1001)))
    assert np.abs(times[found] - np.arange(150) / 15).max() <= 1001 / 30000 / 2 + 1e-9


def test_of_25() -> None:
    assert picks(even(13, Fraction(25)), 15) == [0, 2, 3, 5, 7, 8, 10, 12]  # ticks at 0, 1.67, 3.33, 5, 6.67 ... frames


def test_a_slow_source_repeats_frames() -> None:
    # ticks at 0, 0.4, 0.8, 1.2, 1.6, 2, 2.4 ... frames; the clock stops half a tick after the last frame
    assert picks(even(3, Fraction(10)), 25) == [0, 0, 1, 1, 2, 2]


def test_a_tie_takes_the_earlier_frame() -> None:
    assert picks([0.0, 1.0, 2.0, 3.0], 2) == [0, 0, 1, 1, 2, 2, 3]


def test_the_same_rate_takes_every_frame_once() -> None:
    for rate in (Fraction(15), Fraction(30000, 1001), Fraction(25)):
        assert picks(even(500, rate), float(rate)) == list(range(500))


def test_none_takes_every_frame_once() -> None:
    assert picks([0, 0.5, 9.0], None) == [0, 1, 2]


def test_a_single_frame_and_nothing() -> None:
    assert picks([3.0], 15) == [0]
    assert picks([], 15) == []
    assert picks([], None) == []


@pytest.mark.parametrize("rate", [0.9, 3.0, 7.5, 15.0, 100.0])
@pytest.mark.parametrize("seed", range(5))
def test_variable_rates_against_brute_force(rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(rng.uniform(0.01, 0.3, 40)) + rng.uniform(-5, 5)
    found = picks([*seconds], rate)
    ticks = seconds[0] + np.arange(len(found)) / rate
    np.testing.assert_array_equal(found, np.abs(ticks[:, None] - seconds).argmin(axis=1))
    after = seconds[0] + len(found) / rate  # the first tick that was not taken
    assert after > seconds[-1]
    assert ticks[-1] <= seconds[-1] + 0.5 / rate


@pytest.mark.parametrize("rate", [0, -15, float("nan")])
def test_a_rate_must_be_positive(rate: float) -> None:
    with pytest.raises(OptionError, match="positive"):
        picks([0.0, 1.0], rate)


def test_windows_cover_every_sample() -> None:
    for length in range(1, 8):
        for hop in range(1, length + 1):
            for count in range(30):
                found = list(windows(range(count), length=length, hop=hop))
                assert {item for window in found for item in window.items} == set(range(count))
                assert all(len(window.items) == length for window in found)
                starts = [window.start for window in found]
                assert starts == sorted(set(starts))
                for window in found:
                    expected = [min(window.start + i, count - 1) for i in range(length)]
                    assert list(window.items) == expected
                    assert window.padding == max(0, window.start + length - count)
                if count >= length:
                    assert starts == sorted({*range(0, count - length + 1, hop), count - length})
                else:
                    assert starts == [0] * (count > 0)


@pytest.mark.parametrize(("length", "hop"), [(0, 1), (4, 0), (4, 5), (4, -1), (-2, -2)])
def test_windows_refuse_nonsense(length: int, hop: int) -> None:
    with pytest.raises(OptionError, match=f"given {hop}"):
        list(windows(range(9), length=length, hop=hop))


def test_memory_does_not_grow_with_the_length() -> None:
    def frames() -> Iterator[At]:
        for i in range(100_000):
            yield At(i / 30)

    tracemalloc.start()
    count = sum(1 for _ in windows(sample(frames(), 15), length=16, hop=8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == (50_000 - 16) // 8 + 1
    assert peak < 100_000


def test_a_stream_is_read_no_further_than_needed() -> None:
    read = []

    def frames() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    next(windows(frames(), length=4, hop=2))
    assert read == [0, 1, 2, 3]


def test_the_clock_starts_anew_after_a_gap() -> None:
    seconds = [0.0, 0.1, 0.2, 60.03, 60.13, 3660.0]
    frames = [At(second) for second in seconds]
    assert [frames.index(frame) for frame in sample(frames, 10, gap=1)] == [0, 1, 2, 3, 4, 5]
    assert [frames.index(frame) for frame in sample(frames, 5, gap=1)] == [0, 2, 3, 5]
    assert len([*sample(frames[:4], 10)]) == 601  # without the gap frames are held
    assert [[frame.seconds for frame in stretch] for stretch in stretches(frames, 1)] == [
        [0.0, 0.1, 0.2],
        [60.03, 60.13],
        [3660.0],
    ]


def test_a_gap_is_longer_than_a_window_and_than_a_second() -> None:
    assert [longest_step(*given) for given in [(16, 15), (4, 30), (16, 1)]] == [16 / 15, 1, 16]
    assert longest_step(16, None) == np.inf
