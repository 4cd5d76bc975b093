"""The measurements of a device run on a CPU, in small, and their table shows them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "device"
Line = dict[str, Any]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure(tmp_path_factory.mktemp("results"), "facts,right,price")


def measure(folder: Path, stages: str) -> Path:
    command = [sys.executable, FOLDER / "measure.py", "--device", "cpu", "--quick", "--stages", stages]
    subprocess.run([*command, "--output", folder], check=True, capture_output=True)
    return folder / "results.jsonl"


def lines(results: Path) -> list[Line]:
    return [json.loads(text) for text in results.read_text().splitlines()]


def test_every_stage_measures(results: Path) -> None:
    told = lines(results)
    assert list(dict.fromkeys(line["stage"] for line in told)) == ["facts", "right", "price", "end"]
    assert not [line for line in told if "error" in line or "cut" in line]
    assert [line["at_s"] for line in told] == sorted(line["at_s"] for line in told)
    right = [line for line in told if line.get("what") == "heat of demo"]
    assert [line["tf32"] for line in right] == [False, True]
    assert all(line["same_target"] and line["repeatable"] and line["worst_difference"] == 0 for line in right)


def test_a_price_is_a_ratio_to_inference(results: Path) -> None:
    prices = {line["way"]: line for line in lines(results) if line["stage"] == "price"}
    assert {"inference", "capture", "heat", "heat, when=layer3", "capture input"} <= prices.keys()
    assert {"naive, graph of all", "naive, backward into all"} <= prices.keys()
    assert prices["inference"]["ratio"] == 1
    for line in prices.values():
        assert line["ratio"] > 0 and 0 < line["q1"] <= line["ms"] <= line["q3"] and line["clips_per_s"] > 0


def test_the_table_shows_every_measurement(results: Path) -> None:
    table = show(results)
    assert [line for line in table.splitlines() if line.startswith("#")] == ["### facts", "### right", "### price"]
    for line in lines(results):
        assert line.get("way", line.get("what", "")) in table
    assert "cut short" not in table


def test_the_table_of_a_run_that_was_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    told = [{"stage": "price", "way": "a|b", "ms": 1.23456}, {"stage": "price", "way": "c", "error": "it broke"}]
    path.write_text("\n".join(map(json.dumps, told)) + '\n{"stage": "pri')
    table = show(path)
    assert "| a/b | 1.235 |" in table and "- c: error: it broke" in table and "cut short" in table


def show(results: Path) -> str:
    done = subprocess.run([sys.executable, FOLDER / "table.py", results], check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.slow
def test_the_other_stages_measure(tmp_path: Path) -> None:
    told = lines(measure(tmp_path, "pipeline,models,training"))
    assert {line["stage"] for line in told} == {"pipeline", "models", "training", "end"}
    assert not [line for line in told if "error" in line or "cut" in line]


@pytest.mark.parametrize("script", ["run.sh", "gather.sh"])
def test_scripts_are_bash(script: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / script], check=True)


def test_an_unknown_stage_is_refused() -> None:
    command = [sys.executable, FOLDER / "measure.py", "--stages", "facts,prices"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no stage 'prices'; possible: facts, right" in done.stderr
