import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidcam.media import prefetch
from vidcam.media.prefetching import each


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


def test_each_item_s_result_in_their_order() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 * (number % 3))
        return number * number

    assert list(each(slow, range(20), 4)) == [number * number for number in range(20)]
    assert list(each(slow, [], 4)) == []


def test_an_error_comes_in_its_turn_and_nothing_more_is_begun() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise IndexError("broken")
        time.sleep(0.02)
        return number

    seen = []
    with pytest.raises(IndexError, match="broken"):
        for number in each(work, range(1000), 2):
            seen.append(number)
    assert seen == [0, 1] and len(begun) < 20


def test_threads_that_are_stuck_are_left_to_themselves() -> None:
    never = threading.Event()
    results = each(lambda number: never.wait() if number else number, range(3), 2)
    assert next(results) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 5
    never.set()


STUCK = """
import os, signal, sys
from pathlib import Path
from vidcam.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
from vidcam.media.folder import FolderVideo

def read(self, file, real=FolderVideo._read):
    if file.name == "20.ppm":  # a drive that is gone
        print("stuck", flush=True)
        os.read(os.open(sys.argv[1], os.O_RDWR), 1)
    return real(self, file)

FolderVideo._read = read
sys.exit(main(["explain", sys.argv[2], "--model", "demo", "--output", sys.argv[3]]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_a_run_whose_source_is_stuck(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """It waited for the read, which never returned."""
    os.mkfifo(tmp_path / "pipe")
    clip = tmp_path / "clip"
    clip.mkdir()
    for index in range(24):
        (clip / f"{index:02}.ppm").write_bytes(b"P6 64 48 255\n" + bytes(64 * 48 * 3))
    given = [str(tmp_path / "pipe"), str(clip), str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None and run.stdout.readline() == "stuck\n"
            time.sleep(0.5)
            run.send_signal(number)
            began = time.monotonic()
            _, said = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == code and said.rstrip().endswith("interrupted; nothing half-written is left")
    assert time.monotonic() - began < 15
    assert not (tmp_path / "out").exists()
