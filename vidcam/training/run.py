"""A run of training: begun or gone on with in its folder, fitted on its machine, and saved to be resumed."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vidcam.errors import ModelError, OptionError
from vidcam.media.files import held, leaving_none_empty
from vidcam.training.failures import told_in_one_line
from vidcam.training.lightning import (
    Callback,
    EarlyStopping,
    LightningModule,
    Trainer,
    build_trainer,
    quiet,
    rank_zero_only,
)
from vidcam.training.loading import TrainingData
from vidcam.training.settings import Machine, RunFolder, RunSettings

LAST = "last.ckpt"


@dataclass(frozen=True)
class TrainingRun:
    """What is computed, on what, and where it leaves what."""

    settings: RunSettings
    machine: Machine
    place: RunFolder
    data: Mapping[str, Any]
    """What a resumed run must find again, as JSON gives it back."""
    origin: str
    """What the data are of, for errors."""
    written: Sequence[str]
    """Names of the files that it leaves in its folder, beside the logs; deleted when it begins anew."""

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.place.output)

    @property
    def kept(self) -> dict[str, Any]:
        """What is kept with the weights, to see whether a run that is resumed is the same."""
        return {**self.settings.as_json(), **self.data}

    def fit(
        self, module: LightningModule, data: TrainingData, saving: "Saving", *others: Callback, **options: Any
    ) -> Trainer:
        """Train, from the beginning or from where an earlier run was; what the machine cannot do touches no such run.

        The options are the Trainer's.

        Raises:
            OptionError: the machine does not have what is asked for, or the folder holds a run that shall neither go on
                nor be replaced, or one of other settings or data.
            ModelError: `last.ckpt` is damaged, or the device lacks memory or a deterministic operation.
            MediaError: another process trains in the folder.
        """
        with leaving_none_empty(self.folder), quiet(), ExitStack() as until_end:
            options |= {"max_epochs": self.settings.epochs, "limit_val_batches": 0 if data.validation is None else None}
            trainer = build_trainer(self.machine, self.place, callbacks=[saving, *others], **options)
            self._make_folder()
            if trainer.is_global_zero:
                until_end.enter_context(held(self.folder))
            self._clear()
            last = self._resumed()
            with told_in_one_line(self.settings.batch):
                trainer.fit(module.train(), datamodule=data, ckpt_path=last, weights_only=True)
            trainer.strategy.barrier()
        return trainer

    @rank_zero_only
    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot make the folder {str(self.folder)!r}: {error.strerror}") from None

    @rank_zero_only
    def _clear(self) -> None:
        """Delete the files of an earlier run where one begins anew."""
        if self.place.resume:
            return
        there = [self.folder / name for name in self.written if (self.folder / name).exists()]
        if there and not self.place.force:
            raise OptionError(f"{there[0]} exists: resume=True goes on, force=True begins anew")
        for path in there:
            path.unlink()

    def _resumed(self) -> Path | None:
        """Return the `last.ckpt` to go on from, if there is one and it is of this run."""
        last = self.folder / LAST
        if not self.place.resume or not last.exists():
            return None
        before = read_settings(last)
        for name, value in self.kept.items():
            if name not in self.settings.EXTENSIBLE and before.get(name, value) != value:
                other = f"the {self.origin}'s {name} are not those of the run"
                changed = other if name in self.data else f"{name} was {before[name]!r}, given {value!r}"
                raise OptionError(f"cannot resume: {changed}; use another output")
        return last


class Saving(Callback, ABC):
    """Write `last.ckpt` every few steps and after each epoch, and the model when it is the best so far.

    `facts` is what else is kept with the best model.
    """

    def __init__(self, run: TrainingRun, facts: Mapping[str, Any] | None = None) -> None:
        self.folder, self.settings, self.kept, self.facts = run.folder, run.settings, run.kept, facts or {}
        self.best: dict[str, Any] = {}
        self._saved_step = 0

    @abstractmethod
    def judge(self, trainer: Trainer, module: Any) -> dict[str, Any]:
        """Say how good the model of an epoch is, in values that JSON takes."""

    @abstractmethod
    def rank(self, judged: Mapping[str, Any]) -> tuple[float, ...]:
        """Return what is higher for the better of two that were judged."""

    @abstractmethod
    def write(self, module: Any) -> None:
        """Write the model, which is the best so far."""

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "settings": json.dumps(self.kept)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save in the middle of an epoch; its end has a hook of its own."""
        step = trainer.global_step
        if step != self._saved_step and step % self.settings.save_every == 0 and not trainer.is_last_batch:
            self._saved_step = step
            trainer.save_checkpoint(self.folder / LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._consider(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, after validation; without one, write the model too if it is the best so far."""
        if not trainer.enable_validation:
            self._consider(trainer, pl_module)
        trainer.save_checkpoint(self.folder / LAST)

    def _consider(self, trainer: Trainer, module: Any) -> None:
        judged = {"epoch": trainer.current_epoch, **self.judge(trainer, module)}
        if not self.best or self.rank(judged) > self.rank(self.best):
            self.best = judged
            if trainer.is_global_zero:
                self.write(module)


class Patience(EarlyStopping):
    """Early stopping, after `epochs` in vain, that a resumed run obeys as well, by the number that it is given."""

    def __init__(self, monitor: str, epochs: int) -> None:
        # checked after validation, so that the `last.ckpt` of the epoch's end holds the count
        mode = {"accuracy": "max", "loss": "min"}[monitor]
        super().__init__(f"validation_{monitor}", patience=epochs, mode=mode, check_on_train_epoch_end=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting; how many are allowed is this run's choice."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once where the run had stopped before."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings of the run that wrote a `last.ckpt`.

    Raises:
        ModelError: it is damaged, or not of a run of vidcam's.
    """
    try:
        states = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["callbacks"]
        settings: dict[str, Any] = json.loads(next(s for s in states.values() if "settings" in s)["settings"])
    except Exception:  # given garbage, the readers raise whatever they stumble upon
        raise ModelError(f"{path} is damaged, or not of a training run of vidcam's") from None
    return settings
