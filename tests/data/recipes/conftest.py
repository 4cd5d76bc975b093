"""Recipes are run as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vidcam.__main__ import main
from vidcam.data.manifest import read_manifest


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a recipe with --json: exit code, facts, lines on stderr, and the manifest that it wrote."""

    def run(name: str, root: Path, *options: str, output: str = "manifest.csv") -> SimpleNamespace:
        path = tmp_path / output
        code = main(["manifest", name, str(root), "--output", str(path), "--json", *options])
        out, err = capsys.readouterr()
        facts = json.loads(out) if code == 0 else None
        return SimpleNamespace(
            code=code, facts=facts, said=err.splitlines(), manifest=read_manifest(path) if code == 0 else None
        )

    return run


@pytest.fixture
def touch(tmp_path: Path) -> Callable[..., None]:
    """Make empty files under tmp_path."""

    def touch(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return touch
