"""Work ahead of the consumer in background threads, which no interrupted run waits for longer than a moment."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple, TypeVar

T = TypeVar("T")
U = TypeVar("U")
PATIENCE = 1.0


class _End(NamedTuple):
    """What the producer puts last: why it ended."""

    error: BaseException | None


def prefetch(iterable: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Yield the items of `iterable`, produced up to `depth` items ahead in a background thread.

    An exception of the producer is raised here, after the items that came before it. The thread starts with the
    first item asked for and has ended when this generator ends, however it ends; one that is stuck in a read, as of a
    network drive that is gone, is left to itself after `PATIENCE` seconds, and ends with the read or the process.
    """
    queue: Queue[T | _End] = Queue(max(depth, 1))
    stop = Event()
    thread = Thread(target=_produce, args=(iterable, queue, stop), name="vidcam-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        with suppress(Empty):
            while True:
                queue.get_nowait()  # a producer that waits for room gets it, sees `stop` and leaves
        thread.join(PATIENCE)


def _produce(iterable: Iterable[T], queue: "Queue[T | _End]", stop: Event) -> None:
    error = None
    try:
        _fill(iter(iterable), queue, stop)
    except BaseException as caught:
        error = caught
    if not stop.is_set():
        queue.put(_End(error))


def _fill(iterator: Iterator[T], queue: "Queue[T | _End]", stop: Event) -> None:
    try:
        for item in iterator:
            if stop.is_set():
                return
            queue.put(item)
    finally:
        if close := getattr(iterator, "close", None):
            close()  # here and not in the garbage collector: files are closed by the thread that reads them


def each(work: Callable[[T], U], items: Iterable[T], workers: int) -> Generator[U, None, None]:
    """Yield what `work` returns of each item, in their order, computed by so many background threads.

    An exception of `work` is raised here in its turn. Threads that are stuck are left to themselves, as in `prefetch`.
    """
    futures = [(Future[U](), item) for item in items]
    waiting = deque(futures)
    threads = [Thread(target=_work, args=(work, waiting), name="vidcam-work", daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for future, _ in futures:
            yield future.result()
    finally:
        waiting.clear()
        end = monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0.0, end - monotonic()))


def _work(work: Callable[[T], U], waiting: "deque[tuple[Future[U], T]]") -> None:
    with suppress(IndexError):  # nothing is left to do
        while True:
            future, item = waiting.popleft()
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)
