"""Messages as the command line says them: the library speaks of arguments, `force=True`, and people type `--force`."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from vidcam.errors import VidcamError

Flags = Mapping[str, str]
"""A command's flags by the arguments that they stand for; of a switch that is off, by `NAME=False`."""

_flags: ContextVar[Flags] = ContextVar("flags")
ALONE = r"(?=$|[\s,;:.)])"
BEFORE = r"(?<![\w.(/\\'\"=-])"
"""An argument of the library does not stand in a path, in quotes or in a call."""


def in_flags(message: str) -> str:
    """Say a message of the library in the flags of the running command: `pose=FILE` becomes `--pose FILE`."""
    for name, flag in sorted(_flags.get({}).items(), reverse=True):  # NAME=False comes before NAME
        if name.endswith("=False"):
            message = re.sub(rf"(?<![\w.(]){re.escape(name)}\b", flag, message)
            continue
        message = re.sub(rf"{BEFORE}{name}=(?:True\b|{ALONE})", flag, message)
        message = re.sub(rf"{BEFORE}{name}=(?=[^\s=/\\]+(?:\s|$))", f"{flag} ", message)
        message = re.sub(rf"^{name}(?= (?:must|needs|is for) )", flag, message)
    return message


@contextmanager
def speaking(flags: Flags) -> Iterator[None]:
    """Say what the body tells and what goes wrong in it in a command's flags."""
    before = _flags.set(flags)
    try:
        yield
    except VidcamError as error:
        raise type(error)(in_flags(str(error))) from error
    finally:
        _flags.reset(before)
