import threading
import time
from collections.abc import Iterator

import pytest

from vidcam.media import prefetch


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vidcam-prefetch"]


def test_all_items_in_order_and_no_thread_left() -> None:
    assert list(prefetch(iter(range(100)), depth=3)) == list(range(100))
    assert alive() == []


def test_error_comes_after_the_items_before_it() -> None:
    def produce() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("broken")

    seen = []
    with pytest.raises(KeyError, match="broken"):
        for item in prefetch(produce()):
            seen.append(item)
    assert seen == [1, 2]
    assert alive() == []


@pytest.mark.parametrize("depth", [1, 8])
def test_early_stop_ends_the_thread_and_closes_the_producer(depth: int) -> None:
    made, closed = [], []

    def produce() -> Iterator[int]:
        try:
            for number in range(10_000):
                made.append(number)
                yield number
        finally:
            closed.append(threading.current_thread().name)

    items = prefetch(produce(), depth)
    assert next(items) == 0
    time.sleep(0.05)
    items.close()
    assert alive() == []
    assert closed == ["vidcam-prefetch"]
    assert len(made) <= depth + 3  # one taken, `depth` waiting, one in hand, one let in by the emptied queue


def test_error_of_the_consumer_ends_the_thread() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        for _ in prefetch(iter(range(1000)), depth=2):
            raise RuntimeError("mine")
    assert alive() == []


def test_nothing_runs_before_the_first_item_is_asked_for() -> None:
    items = prefetch(iter(range(3)))
    assert alive() == []
    assert list(items) == [0, 1, 2]
