"""A run that is killed and resumed, or shared by two processes, ends with the weights of one that was left alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vidcam.errors import MediaError, ModelError, OptionError
from vidcam.media.files import held
from vidcam.models.build import load_model
from vidcam.training.classifier.module import BEST
from vidcam.training.classifier.train import train
from vidcam.training.lightning import WholeCheckpoints
from vidcam.training.run import LAST

SCRIPT = """
import json, os, signal, sys
import torch
torch.set_num_threads(1)
from vidcam.training.classifier.train import train
from vidcam.training.run import Saving

def dying(save):
    def hook(self, trainer, *rest):
        if trainer.global_step == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        save(self, trainer, *rest)
    return hook

if __name__ == "__main__":
    Saving.on_train_batch_end = dying(Saving.on_train_batch_end)
    train(**json.loads(sys.argv[2]))
"""


def start(folder: Path, arguments: dict[str, Any], *, kill_at: int = -1) -> int:
    """Train in a process of its own, which kills itself before it saves anything of a step; return its exit code."""
    script = folder / "run.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "error", str(script), str(kill_at), json.dumps(arguments, default=str)]
    return subprocess.run(command, check=False).returncode


def states(path: Path) -> dict[str, Any]:
    found = torch.load(path / LAST, weights_only=True)
    return {"weights": found["state_dict"], "optimizer": found["optimizer_states"], "rates": found["lr_schedulers"]}


def test_killed_in_an_epoch_and_resumed(
    tmp_path: Path, recurrent: dict[str, Any], assert_same: Callable[[Any, Any], None]
) -> None:
    """Three steps per epoch; last.ckpt is of step 4 when step 5 kills, in the second epoch."""
    run = recurrent | {"epochs": 3, "save_every": 2, "schedule": "plateau", "class_balance": "sampling"}
    train(**run | {"output": tmp_path / "whole"})
    killed = run | {"output": tmp_path / "killed"}
    assert start(tmp_path, killed, kill_at=5) == -signal.SIGKILL
    assert torch.load(tmp_path / "killed" / LAST, weights_only=True)["global_step"] == 4
    train(**killed | {"resume": True, "workers": 1})  # how many processes load is no matter
    assert_same(states(tmp_path / "whole"), states(tmp_path / "killed"))
    assert_same(load_file(tmp_path / "whole" / BEST), load_file(tmp_path / "killed" / BEST))


WRITING = """
import os, signal, sys, tempfile
from pathlib import Path
import torch
from vidcam.training.lightning import WholeCheckpoints

last, away = Path(sys.argv[1]), tempfile.gettempdir()
whole = torch.save

def killed(state, file, *rest):
    whole(state, file, *rest)
    file.write(b"half of what comes next")
    os.kill(os.getpid(), signal.SIGKILL)

WholeCheckpoints().save_checkpoint({"epoch": 1}, last)
torch.save = killed
WholeCheckpoints().save_checkpoint({"epoch": 2}, last)
"""


def test_a_kill_while_the_resume_point_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    """Nothing goes by way of TMPDIR, and what is left of the killed process is written over by the next."""
    last = tmp_path / "run" / LAST
    last.parent.mkdir()
    (tmp_path / "away").mkdir()
    surroundings = os.environ | {"TMPDIR": str(tmp_path / "away")}
    done = subprocess.run([sys.executable, "-c", WRITING, str(last)], check=False, env=surroundings)
    assert done.returncode == -signal.SIGKILL
    assert torch.load(last, weights_only=True) == {"epoch": 1}
    assert [*(tmp_path / "away").iterdir()] == []
    WholeCheckpoints().save_checkpoint({"epoch": 3}, last)
    assert torch.load(last, weights_only=True) == {"epoch": 3}
    assert [path.name for path in last.parent.iterdir()] == [LAST]


def test_two_processes_with_one_output(quick: dict[str, Any], tmp_path: Path) -> None:
    """While one trains in a folder, another says so and leaves it alone, also with force."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LAST).write_bytes(b"of the other")
    with held(tmp_path / "run"):
        for more in ({"force": True}, {"resume": True}):
            with pytest.raises(MediaError, match=r"another process is writing '.*run'"):
                train(**quick | more)
    assert (tmp_path / "run" / LAST).read_bytes() == b"of the other"


@pytest.mark.slow
@pytest.mark.parametrize("kill_at", [1, 3, 4, 8])
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_killed_anywhere(
    tmp_path: Path, quick: dict[str, Any], kill_at: int, schedule: str, assert_same: Callable[[Any, Any], None]
) -> None:
    """Nine steps; killed before anything is saved, in epochs, and at their ends."""
    run = quick | {"epochs": 3, "save_every": 2, "schedule": schedule, "label_smoothing": 0.1}
    train(**run | {"output": tmp_path / "whole"})
    killed = run | {"output": tmp_path / "killed"}
    assert start(tmp_path, killed, kill_at=kill_at) == -signal.SIGKILL
    train(**killed | {"resume": True})
    assert_same(states(tmp_path / "whole"), states(tmp_path / "killed"))


def test_more_epochs_go_on_and_other_settings_do_not(quick: dict[str, Any]) -> None:
    run = quick | {"schedule": "none"}
    train(**run)
    with pytest.raises(OptionError, match=r"last\.ckpt exists: resume=True .* force=True"):
        train(**run)
    with pytest.raises(OptionError, match=r"cannot resume: batch was 4, given 2"):
        train(**run | {"resume": True, "batch": 2})
    train(**run | {"resume": True, "epochs": 2})
    assert torch.load(quick["output"] / LAST, weights_only=True)["global_step"] == 6
    (quick["output"] / LAST).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"last\.ckpt is damaged"):
        train(**run | {"resume": True})


def test_a_stopped_run_goes_on_with_more_patience_or_without(quick: dict[str, Any]) -> None:
    """Nothing is learned, so that every epoch after the first is in vain; three steps in each."""
    run = quick | {"epochs": 5, "learning_rate": 1e-12, "freeze": "backbone", "schedule": "none"}
    last = quick["output"] / LAST
    for patience, epochs in ((1, 2), (1, 2), (2, 3), (None, 5)):
        train(**run | {"early_stopping": patience, "resume": True})
        assert torch.load(last, weights_only=True)["global_step"] == 3 * epochs
    taken = load_model("r2plus1d_mini", checkpoint=last, options=quick["options"])  # the names of its weights fit
    kept = torch.load(last, weights_only=True)["state_dict"]
    assert taken.options["classes"] == 2
    assert all(torch.equal(kept[f"net.{key}"], value) for key, value in taken.net.state_dict().items())


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path, recurrent: dict[str, Any]) -> None:
    """Batches of 2 in each of two processes (gloo) are batches of 4 in one; without dropout, which is each its own."""
    run = recurrent | {"epochs": 2, "freeze": "backbone", "options": recurrent["options"] | {"dropout": 0.0}}
    assert start(tmp_path, run | {"output": tmp_path / "one"}) == 0
    two = run | {"output": tmp_path / "two", "batch": 2, "devices": 2, "strategy": "ddp"}
    assert start(tmp_path, two) == 0
    one, other = (load_file(tmp_path / name / BEST) for name in ("one", "two"))
    for key in one:  # the means of two halves are added in another order; Adam makes more of it
        torch.testing.assert_close(one[key], other[key], rtol=0, atol=2e-5)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    assert reports[0]["confusion"] == reports[1]["confusion"]
    assert reports[1]["per_clip"]["count"] == 8  # four test videos, two clips each, none of them twice
