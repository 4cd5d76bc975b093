"""Times of calls, waits of the host, and memory."""

import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench import Bench, Line

Call = Callable[[], Any]
MIB = 2**20


def now(bench: Bench) -> float:
    if bench.cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def clock(bench: Bench, call: Call) -> float:
    """Return the seconds of one call, to the end of what it left running on the device."""
    start = now(bench)
    call()
    return now(bench) - start


def look(bench: Bench, call: Call) -> Line:
    """Warm up, and return what one call takes of memory and how often the host waits for the device in it."""
    call()
    call()
    return {**peak(bench, call), **waits(bench, call)}


def rounds(bench: Bench, calls: dict[str, Call], *, most: int, seconds: float) -> dict[str, list[float]]:
    """Time all calls in turn, round by round, so that what the machine does besides falls on all of them alike.

    The first round warms up; there are at least three others, and no more once `seconds` have passed.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    for number in range(most + 1):
        for name, call in calls.items():
            taken = clock(bench, call)
            times[name] += [taken] if number else []
        if number >= 3 and time.perf_counter() > end:
            break
    return times


def spread(times: list[float]) -> Line:
    """Return the quartiles in milliseconds."""
    low, middle, high = (round(1e3 * value, 3) for value in statistics.quantiles(times, n=4))
    return {"ms": middle, "q1": low, "q3": high, "calls": len(times)}


def peak(bench: Bench, call: Call) -> Line:
    """Call, and return how much memory was taken at most above what was taken before."""
    if not bench.cuda:
        call()
        return {}
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    torch.cuda.synchronize()
    return {"peak_mib": round((torch.cuda.max_memory_allocated() - before) / MIB, 1)}


def waits(bench: Bench, call: Call) -> Line:
    """Call, and return how often the host waited for the device, and where, as torch's debug mode warns of it."""
    if not bench.cuda:
        return {}
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told = [warning for warning in caught if "called a synchronizing" in str(warning.message)]
    places = Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in told)
    return {"waits": len(told), "where": dict(places.most_common(8))}
