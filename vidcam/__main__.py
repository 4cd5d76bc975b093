"""`python -m vidcam` and the `vidcam` command: errors become one line and an exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from typer import Abort
from typer.exceptions import TyperException

from vidcam.cli import app
from vidcam.cli.console import one_line
from vidcam.errors import VidcamError

INTERRUPTED = 130
STOPPING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that mean what Ctrl-C does."""
AGAIN_SECONDS = 5.0
"""A signal sent to a process and to its group comes twice; the second must not stop the cleaning up."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, 1 for what went wrong, 2 for wrong usage, 130 when interrupted.

    A SIGTERM or SIGHUP interrupts as Ctrl-C does, and gives 143 or 129.
    """
    with _interrupting() as received:
        try:
            code = int(app(arguments, prog_name="vidcam", standalone_mode=False) or 0)
            if code == INTERRUPTED:  # typer has caught the KeyboardInterrupt
                raise Abort
            return code
        except TyperException as error:
            message = error.format_message()
            whole = message.startswith(("Usage", "\n"))
            print(message if whole else f"error: {one_line(message)}{_typed(error)}", file=sys.stderr)
            return error.exit_code
        except (Abort, KeyboardInterrupt):
            print("interrupted; nothing half-written is left", file=sys.stderr)
            return 128 + received[0] if received else INTERRUPTED
        except BrokenPipeError:  # the reader of our output has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (VidcamError, OSError) as error:
            print(f"error: {one_line(error)}", file=sys.stderr)
            return 1


def _typed(error: TyperException) -> str:
    """Say what was typed where a value was not of its option's kind, which typer leaves out."""
    wrong: Any = getattr(error.__cause__, "errors", list)()
    return f"; given {wrong[0]['input']!r}" if wrong else ""


@contextmanager
def _interrupting() -> Iterator[list[int]]:
    """Turn the signals into a KeyboardInterrupt, and list those that came; what is ignored, as by nohup, stays so.

    After one came they are ignored for good: the process ends, and with the exit code that is told.
    """
    received: list[int] = []
    last, process = -AGAIN_SECONDS, os.getpid()

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != process:  # a forked process that loads ahead dies as it would have
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if time.monotonic() - last >= AGAIN_SECONDS:
            last = time.monotonic()
            received.append(number)
            raise KeyboardInterrupt

    main_thread = threading.current_thread() is threading.main_thread()
    taken = [each for each in STOPPING if main_thread and signal.getsignal(each) == signal.SIG_DFL]
    for each in taken:
        signal.signal(each, interrupt)
    try:
        yield received
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_IGN if received else signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
