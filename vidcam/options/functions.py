"""Functions that take declared options as plain keyword arguments."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from functools import wraps
from textwrap import wrap
from typing import Any, TypeVar, get_type_hints

from vidcam.options.declaration import Options, declared

Returned = TypeVar("Returned")
WIDTH = 120


def takes(*groups: type[Options]) -> Callable[[Callable[..., Returned]], Callable[..., Returned]]:
    """Let a function be called with the options of its groups, one by one.

    The function has a parameter for each group, known by its annotation, and gets the group as it is declared and
    checked. Whoever calls it gives keyword arguments; `inspect.signature` and `help` show them all, and what is said of
    them joins the docstring's `Args`.

    Example:
        @takes(Machine)
        def train(manifest: Path, *, machine: Machine) -> None: ...

        train(path, devices=2)
    """

    def decorate(run: Callable[..., Returned]) -> Callable[..., Returned]:
        own = inspect.signature(run, eval_str=True)
        homes = {part.annotation: name for name, part in own.parameters.items() if part.annotation in groups}
        plain = [part for part in own.parameters.values() if part.name not in homes.values()]
        flat = own.replace(parameters=sorted([*plain, *parameters(*groups)], key=lambda part: part.kind))

        @wraps(run)
        def call(*given: Any, **named: Any) -> Returned:
            try:
                flat.bind(*given, **named)
            except TypeError as error:
                raise TypeError(f"{run.__name__}() {error}") from None
            for group in groups:
                chosen = {name: named.pop(name) for name in declared(group) if name in named}
                named[homes[group]] = group(**chosen)
            return run(*given, **named)

        call.__signature__ = flat  # type: ignore[attr-defined]
        call.__annotations__ = {part.name: part.annotation for part in flat.parameters.values()}
        call.__doc__ = _documented(inspect.getdoc(run), groups)
        return call

    return decorate


def parameters(*groups: type[Options]) -> Iterator[inspect.Parameter]:
    """Yield the options of the groups as keyword parameters."""
    for group in groups:
        hints = get_type_hints(group)
        for part in fields(group):
            if part.name in declared(group):
                default = part.default if part.default_factory is MISSING else part.default_factory()
                yield inspect.Parameter(
                    part.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if default is MISSING else default,
                    annotation=hints[part.name],
                )


def _documented(text: str | None, groups: tuple[type[Options], ...]) -> str | None:
    """Add what is said of the options to the end of a docstring's `Args`, or to the end of one that has none."""
    if text is None:
        return None
    told = [line for group in groups for name, about in declared(group).items() for line in _lines(name, about.about)]
    lines = text.splitlines()
    if "Args:" not in lines:
        return "\n".join([*lines, "", "Args:", *told])
    after = lines.index("Args:") + 1
    while after < len(lines) and lines[after].startswith(" "):
        after += 1
    return "\n".join([*lines[:after], *told, *lines[after:]])


def _lines(name: str, about: str) -> list[str]:
    return wrap(f"{name}: {about}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
