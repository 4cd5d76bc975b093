"""Failures of a device in the middle of a run of training, in one line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from vidcam.attribution.failures import of_memory
from vidcam.errors import ModelError

REPEATED_BY_NONE = re.compile(r"(\w+) does not have a deterministic implementation")


@contextmanager
def told_in_one_line(batch: int) -> Iterator[None]:
    """Say what a device cannot do, and what helps.

    Raises:
        ModelError: it has no memory for the batch, or no deterministic version of an operation where one is asked for.
    """
    said = None
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if (said := _why(error, batch)) is None:
            raise
    if said is not None:
        raise ModelError(said)


def _why(error: Exception, batch: int) -> str | None:
    if of_memory(error):
        helps = "a smaller batch=, precision='bf16-mixed', smaller frames or another device help"
        return f"there is no memory for {batch} samples at once; {helps}"
    if found := REPEATED_BY_NONE.search(str(error)):
        helps = "deterministic='warn' trains all the same, and names such operations"
        return f"torch has no version of {found[1]} for this device that gives the same numbers again; {helps}"
    return None
