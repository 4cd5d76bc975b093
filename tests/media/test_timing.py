from fractions import Fraction

import pytest

from vidcam.media.timeline import Clock, Timeline, moment


@pytest.mark.parametrize("first", [0, 1000, -1000, 3_900_000_000_000])
def test_time_counts_from_the_first_timestamp(first: int) -> None:
    clock = Clock(Fraction(10), Fraction(1, 1000))
    assert [clock.tick(first + stamp) for stamp in (0, 1, 500)] == [0.0, 0.001, 0.5]


def test_missing_and_earlier_timestamps_follow_after_one_frame() -> None:
    clock = Clock(Fraction(10), Fraction(1, 10))
    assert [clock.tick(stamp) for stamp in (1, 3, 2, None, 9)] == [0.0, 0.2, 0.3, 0.4, 0.8]


def test_before_the_first_timestamp_frames_follow_from_zero() -> None:
    clock = Clock(Fraction(10), Fraction(1, 10))
    assert [clock.tick(stamp) for stamp in (None, None, 14, 15)] == [0.0, 0.1, 0.2, 0.3]


def test_without_a_time_base_the_index_counts() -> None:
    clock = Clock(Fraction(30000, 1001), None)
    assert [clock.tick(stamp) for stamp in (1, 4, 3)] == [0.0, 1001 / 30000, 2002 / 30000]


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(90000, 3001), Fraction(7, 3)])
def test_constant_rate_is_exact(rate: Fraction) -> None:
    line = Timeline(rate)
    assert (1 / rate / line.time_base).denominator == 1
    assert line.time_base <= Fraction(1, 90_000)
    stamps = [line.place(None) for _ in range(1000)]
    assert [stamp * line.time_base for stamp in stamps] == [index / rate for index in range(1000)]


def test_milliseconds_of_a_constant_rate_snap_to_it() -> None:
    rate = Fraction(30000, 1001)
    line = Timeline(rate)
    stamps = [line.place(round(float(index / rate), 3)) for index in range(300)]
    assert [stamp * line.time_base for stamp in stamps] == [index / rate for index in range(300)]


def test_other_times_are_kept_to_half_a_tick() -> None:
    line = Timeline(Fraction(30))
    times = [0.0, 0.0417, 0.2, 0.2119, 1.7]
    stamps = [line.place(time) for time in times]
    assert [float(stamp * line.time_base) for stamp in stamps] == pytest.approx(times, abs=1 / 180_000)


def test_a_time_that_does_not_advance_has_no_place() -> None:
    line = Timeline(Fraction(100), time_base=Fraction(1, 100))
    assert [line.place(time) for time in (0.0, 0.003, 0.01)] == [0, None, 1]


def test_moments_of_neighbors_differ() -> None:
    assert [moment(seconds) for seconds in (0, 7.0, 2.4, 34200.12, 34200.16, 1 / 30, float("inf"))] == [
        *("0", "7", "2.4", "34,200.12", "34,200.16", "0.033", "inf")
    ]
    assert len({moment(40_000 + index / 240) for index in range(240)}) == 240
    assert moment(1305031102.175304, 6) == "1,305,031,102.175304"
