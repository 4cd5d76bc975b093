import ast
import subprocess
import sys
from pathlib import Path

import pytest

from vidcam.__main__ import main
from vidcam.data import recipes

ROOT = Path(__file__).parents[3]
NAMES = recipes.recipes()
DRIVES = "kitti_odometry"


def test_the_recipes_are_found():
    assert {"folder", "hmdb51", "kinetics", "kitti_odometry", "ucf101"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recipes_need_the_standard_library_and_vidcam_data_alone(name):
    tree = ast.parse((Path(recipes.__file__).parent / f"{name}.py").read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    allowed = {"vidcam.errors", "vidcam.media", "vidcam.media.files"}
    others = {
        m for m in modules if not m.startswith("vidcam.data.") and m.partition(".")[0] not in sys.stdlib_module_names
    }
    assert others <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_page(name):
    assert f"[{name}]({name}.md)" in (ROOT / "datasets" / "README.md").read_text()
    assert f"vidcam manifest {name} " in (ROOT / "datasets" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_help_teaches_with_an_example_that_parses(name, capsys):
    assert main(["manifest", name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"    vidcam manifest {name} " in shown and "--force" in shown and "--json" in shown


def test_the_recipes_are_listed_with_what_they_are(capsys):
    main(["manifest", "--help"])
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()] == NAMES
    assert "51 actions in films" in shown


def test_a_recipe_that_does_not_exist_is_a_wrong_use(capsys):
    assert main(["manifest", "hmdb"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown recipe 'hmdb'; did you mean 'hmdb51'?")


@pytest.mark.parametrize("name", [name for name in NAMES if name != DRIVES])
def test_errors_are_one_line(name, run, tmp_path):
    (tmp_path / "empty").mkdir()
    for root in (tmp_path / "empty", tmp_path / "absent"):
        done = run(name, root)
        assert done.code == 1 and len(done.said) == 1 and done.said[0].startswith("error: ")
    assert not (tmp_path / "manifest.csv").exists()


@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_an_unknown_split_is_one_line(name, run, tmp_path):
    done = run(name, tmp_path, "--split", "4")
    assert (done.code, done.said) == (1, ["error: unknown split 4; possible: 1, 2, 3"])


def test_a_recipe_runs_as_a_command(touch, tmp_path):
    touch("root/a/1.mp4", "root/b/1.mp4", "root/a/2.mp4", "root/b/2.mp4")
    command = [sys.executable, "-m", "vidcam", "manifest", "folder", "root", "--output", "m.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "videos: 4" in done.stdout and done.stderr.startswith("warning: without --group")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 1 and again.stdout == "" and "exists" in again.stderr and again.stderr.count("\n") == 1
    forced = subprocess.run([*command, "--force"], cwd=tmp_path, capture_output=True, text=True)
    assert forced.returncode == 0 and forced.stdout == done.stdout
