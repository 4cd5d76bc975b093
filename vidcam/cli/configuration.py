"""Options from a file: an earlier run's run.json, or a TOML file; what is given on the command line wins."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def configure(context: typer.Context, path: Path | None) -> Path | None:
    """Take the command's defaults from a file; a usage error names options that the command does not have."""
    if path is None:
        return None
    try:
        options = _read(path)
        unknown = options.keys() - {parameter.name for parameter in context.command.params}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise typer.BadParameter(f"{path} is no run.json or TOML file of options ({type(error).__name__})") from None
    if unknown:
        raise typer.BadParameter(f"{path} holds unknown options: {', '.join(sorted(unknown))}")
    context.default_map = {**(context.default_map or {}), **options}
    return path


def pairs(given: Sequence[str], option: str) -> dict[str, Any]:
    """Read "name=value" pairs, where values are JSON or else words: hidden=128, backbone=resnet18, size=[112,112]."""
    found: dict[str, Any] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"--{option} needs NAME=VALUE; given {pair!r}")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def _read(path: Path) -> dict[str, Any]:
    """Return options by name; tables become the pairs that a command line would hold."""
    if path.suffix == ".toml":
        loaded = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _as_pairs(value) if isinstance(value, dict) else value for name, value in loaded.items()}
    options = json.loads(path.read_text(encoding="utf-8"))["options"]
    if not isinstance(options, dict):
        raise TypeError
    return options


def _as_pairs(values: dict[str, Any]) -> list[str]:
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]
