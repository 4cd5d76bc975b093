"""Recipes are scripts, not modules: they are loaded by their path."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from vidcam.data.manifest import read_manifest

RECIPES = Path(__file__).parents[2] / "datasets"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recipe() -> Callable[[str], ModuleType]:
    return load


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a recipe with --json: exit code, facts, lines on stderr, and the manifest that it wrote."""

    def run(name: str, root: Path, *options: str, output: str = "manifest.csv") -> SimpleNamespace:
        path = tmp_path / output
        code = load(name).main([str(root), "--output", str(path), "--json", *options])
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
