"""What can go wrong for reasons a user can act on; every message is one line.

VidcamError
├── MediaError    a video, folder or picture cannot be read or written
├── ModelError    a model, its weights or its checkpoint
│   └── LayerError    a layer that does not exist or cannot be explained
├── TargetError   a class or output component that does not exist
└── OptionError   any other choice: a method, a placement, a backend
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches

JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Invisible, but letters and emoji are joined by them."""

FEW = 8
"""So many choices are all named, also where one of them is near."""


class VidcamError(Exception):
    """The root of all errors that vidcam raises on purpose."""


class MediaError(VidcamError):
    """A video, folder or picture cannot be read or written."""


class ModelError(VidcamError):
    """A model, its weights or its checkpoint does not fit."""


class LayerError(ModelError):
    """A layer does not exist or cannot be explained."""


class TargetError(VidcamError):
    """A class or an output component does not exist."""


class OptionError(VidcamError):
    """A method, placement, backend or other choice does not exist."""


def unknown(kind: str, given: object, possible: Iterable[str], *, most: int = 16) -> str:
    """Say in one line that `given` is no known `kind`, with near matches, and what is possible if there are few."""
    options = list(possible)
    near = get_close_matches(str(given), options, n=3, cutoff=0.5)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    if near and len(options) > FEW:
        return f"unknown {kind} {given!r}{meant}"
    shown = ", ".join(options[:most]) + (f" and {len(options) - most} more" if len(options) > most else "")
    return f"unknown {kind} {given!r}{meant or ';'} possible: {shown or 'none'}"


def not_there(path: object) -> str:
    """Say in one line that there is no such file, and of a URL what to do."""
    given = str(path)
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", given):
        return f"cannot read {given!r}: no such file"
    scheme, _, rest = given.partition(":")
    do = "give the path alone" if scheme == "file" else "download it first, as by ffmpeg -i URL -c copy clip.mp4"
    return f"cannot read '{scheme}://{rest.lstrip('/')}': vidcam reads files, and this is a URL; {do}"


def printable(text: str) -> str:
    r"""Return one line that a terminal, a font and any encoding can take: what cannot be shown stands as \x1b, \udce9.

    Line breaks, control characters, marks that turn the direction of writing, and bytes of a file's name that are no
    UTF-8 are among these; spaces of any kind become a space.
    """
    return "".join(map(_shown, text)) if not text.isprintable() else text


def _shown(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    wide = character.isspace() and ord(character) > 0x9F and character not in "\u2028\u2029"
    return " " if wide else character.encode("unicode_escape").decode("ascii")
