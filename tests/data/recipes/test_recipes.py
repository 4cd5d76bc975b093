import ast
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "datasets"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))


def test_the_folder_is_no_package():
    assert not (RECIPES / "__init__.py").exists() and {"hmdb51", "kinetics", "ucf101", "video_folder"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_need_the_standard_library_and_vidcam_data_alone(name):
    tree = ast.parse((RECIPES / f"{name}.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"vidcam.errors"}
    others = {
        m for m in modules if not m.startswith("vidcam.data.") and m.partition(".")[0] not in sys.stdlib_module_names
    }
    assert others <= allowed
    assert name not in sys.stdlib_module_names


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_told_of_in_the_readme(name):
    assert f"[{name}.py]({name}.py)" in (RECIPES / "README.md").read_text()


@pytest.mark.parametrize("name", [name for name in NAMES if name in {"hmdb51", "kinetics", "ucf101", "video_folder"}])
def test_errors_are_one_line(name, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "absent"):
        done = run(name, root)
        assert done.code == 1 and len(done.said) == 1 and done.said[0].startswith("error: ")
    assert not (tmp_path / "manifest.csv").exists()


def test_a_recipe_runs_as_a_script(touch, tmp_path):
    touch("root/a/1.mp4", "root/b/1.mp4", "root/a/2.mp4", "root/b/2.mp4")
    command = [sys.executable, RECIPES / "video_folder.py", "root", "--output", "m.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "videos: 4" in done.stdout and done.stderr.startswith("warning: without --group")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1 and again.stdout == "" and "exists" in again.stderr and again.stderr.count("\n") == 1
