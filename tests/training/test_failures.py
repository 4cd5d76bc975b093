"""What a device cannot do is told in one line; what a run sets for the process is put back."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from posing import on_posed_trainer, posing
from torch import Tensor

from vidcam.errors import ModelError, OptionError
from vidcam.training.classifier.module import Classifier
from vidcam.training.classifier.train import train
from vidcam.training.settings import Machine


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_2", "ddpx"])
def test_strategies_that_spread_weights_are_refused_before_anything_is_made(
    quick: dict[str, Any], tmp_path: Path, strategy: str
) -> None:
    """One process would save its part of the weights alone."""
    with pytest.raises(OptionError, match=r"^strategy must leave each process all weights, to be saved: auto, ddp or"):
        train(**quick, strategy=strategy)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("strategy", ["auto", "ddp", "ddp_find_unused_parameters_true"])
def test_strategies_that_keep_weights_whole_are_taken(strategy: str) -> None:
    assert Machine(strategy=strategy).strategy == strategy


def flags() -> tuple[Any, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.parametrize(
    ("asked", "strict", "lenient"), [("no", False, False), ("yes", True, False), ("warn", True, True)]
)
def test_a_run_may_be_deterministic_and_the_process_is_as_before(
    quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch, asked: str, strict: bool, lenient: bool
) -> None:
    seen, before, loss = [], flags(), Classifier.loss

    def look(self: Classifier, values: Tensor, y: Tensor) -> Tensor:
        seen.append(flags())
        return loss(self, values, y)

    monkeypatch.setattr(Classifier, "loss", look)
    train(**quick, deterministic=asked)
    workspace = ":4096:8" if strict else before[3]
    assert {*seen} == {(strict, lenient, before[2] and not strict, workspace)}
    assert flags() == before


def repeated_by_none(self: Classifier, values: Tensor, y: Tensor) -> Tensor:
    """Weigh by ones that are put in place, of which torch has no deterministic version, not on a CPU either."""
    ones = torch.zeros_like(values).put_(torch.arange(values.numel()), torch.ones(values.numel()))
    return (values * ones).square().mean()


def test_an_operation_without_a_deterministic_version_is_named(
    quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "loss", repeated_by_none)
    before = flags()
    with pytest.raises(
        ModelError, match=r"^torch has no version of put_ for this device .* deterministic='warn'"
    ) as error:
        train(**quick, deterministic="yes")
    assert "\n" not in str(error.value) and flags() == before


def test_such_operations_are_warned_of_where_that_is_enough(
    quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "loss", repeated_by_none)
    with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
        train(**quick, deterministic="warn")


@pytest.mark.parametrize(
    "full", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."), MemoryError()]
)
def test_no_memory_is_one_line(quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch, full: Exception) -> None:
    def loss(*_: Any) -> Tensor:
        raise full

    monkeypatch.setattr(Classifier, "loss", loss)
    with pytest.raises(ModelError, match=r"^there is no memory for 4 samples at once; a smaller batch=, [^\n]*$"):
        train(**quick)


def test_other_errors_come_through(quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(*_: Any) -> Tensor:
        raise RuntimeError("mine")

    monkeypatch.setattr(Classifier, "loss", loss)
    with pytest.raises(RuntimeError, match="mine"):
        train(**quick)


def test_on_a_gpu_as_well(quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    on_posed_trainer(monkeypatch)
    with posing():
        train(**{**quick, "accelerator": "auto", "deterministic": "yes"})
