"""The terminal: results on stdout, progress, notes and warnings on stderr."""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from vidcam.cli.wording import in_flags
from vidcam.errors import printable

if TYPE_CHECKING:
    from vidcam.types import Progress


SIZES = ("size", "grid", "stride", "sees")
"""What is shown as 640x480; other lists have commas."""


def say(message: str) -> None:
    """Print a note for people on stderr, in the flags of the running command."""
    typer.echo(printable(in_flags(message)), err=True)


def one_line(message: object) -> str:
    """Join a message's lines; the system's own errors say what and of which file, without their number."""
    if isinstance(message, OSError) and message.strerror and message.filename is not None:
        message = f"{message.filename}: {message.strerror}"
    return printable(" ".join(str(message).split()))


def show(facts: Mapping[str, Any], *, as_json: bool, first: Iterable[str] | None = None) -> None:
    """Print a result on stdout: one JSON object per line, or lines for people, of the facts `first` if any are known.

    A fact that is None or empty is not among these.
    """
    if as_json:
        typer.echo(json.dumps(facts))
        return
    if first is not None:
        facts = {name: facts[name] for name in first if facts.get(name) not in (None, "", (), [], {})}
    for key, value in facts.items():
        tables = isinstance(value, list) and any(isinstance(item, dict) for item in value)
        lines = [_shown(item) for item in value] if key == "outputs" or tables else []
        typer.echo("\n  ".join([f"{key}:", *lines]) if lines else f"{key}: {_fact(key, value)}")


def _fact(name: str, value: object) -> str:
    """Show times to the frame, all else to four digits."""
    if not (name.endswith("seconds") and isinstance(value, float)):
        return _shown(value, name)
    from vidcam.media.timeline import moment

    return moment(value)


def _shown(value: object, key: str = "") -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(key, item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ("x" if key in SIZES else ", ").join(map(_shown, value))
    return printable(str(value))


def table(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print rows with the same keys on stdout, aligned for people or one JSON object per line."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    lines = [list(rows[0]), *([_shown(value, key) for key, value in row.items()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def progress_bar(what: str) -> Iterator["Progress"]:
    """Show progress on stderr, and nothing where stderr is no terminal."""
    from rich import progress as rich
    from rich.console import Console

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    console, hidden = Console(stderr=True), not sys.stderr.isatty()
    with rich.Progress(*columns, rich.TimeElapsedColumn(), console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None)

        def show_progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=max(total, done) if total else None)

        yield show_progress


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Print warnings as one line each on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {one_line(message)}")
        yield
