"""Options from a file: an earlier run's run.json, or a TOML file; what is given on the command line wins."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from vidcam.errors import unknown


def configure(context: typer.Context, path: Path | None) -> Path | None:
    """Take the command's defaults from a file; a usage error names options that the command does not have."""
    if path is None:
        return None
    names = {flag.lstrip("-"): part.name for part in context.command.params for flag in part.opts}
    names |= {part.name: part.name for part in context.command.params}
    try:
        options = {names.get(name, name): value for name, value in _read(path).items()}
        strange = sorted(options.keys() - names.keys())
    except OSError as error:
        raise typer.BadParameter(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "it has no table of options"
        why = "it is nested without end" if isinstance(error, RecursionError) else why
        raise typer.BadParameter(f"{path} is no run.json or TOML file of options: {why}") from None
    if strange:
        possible = [part.name for part in context.command.params if part.name not in ("config", "help")]
        hint = unknown("option", strange[0], map(str, possible)).partition("; ")[2]
        raise typer.BadParameter(f"{path} holds unknown options: {', '.join(strange)}; {hint}")
    several = {part.name for part in context.command.params if getattr(part, "multiple", False)}
    options = {name: _listed(value) if name in several else value for name, value in options.items()}
    context.default_map = {**(context.default_map or {}), **options}
    return path


def pairs(given: Sequence[str], flag: str) -> dict[str, Any]:
    """Read "name=value" pairs, where values are JSON or else words: hidden=128, backbone=resnet18, size=[112,112]."""
    read: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{flag} needs NAME=VALUE; given {pair!r}")
        try:
            read[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            read[key.strip()] = value
    return read


def _read(path: Path) -> dict[str, Any]:
    """Return options by name; tables become the pairs that a command line would hold."""
    if path.suffix == ".toml":
        import tomllib  # here, since it takes a while

        loaded = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = {name: table for name, table in loaded.items() if isinstance(table, dict)}
        return loaded | {name: [f"{k}={json.dumps(v)}" for k, v in table.items()] for name, table in tables.items()}
    options = json.loads(path.read_text(encoding="utf-8"))["options"]
    if not isinstance(options, dict):
        raise TypeError
    return options


def _listed(value: Any) -> list[Any]:
    """Return the values of an option that may be repeated, of which a file may hold one alone, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]
