"""Saving: a run's place, so that it can be resumed, and the best model so far, so that it can be explained."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vidcam.errors import ModelError
from vidcam.training.lightning import Callback, EarlyStopping, LightningModule, Trainer

LAST = "last.ckpt"


class Saving(Callback, ABC):
    """Write `last.ckpt` every few steps and after each epoch, and the model when it is the best so far.

    Args:
        folder: where they go.
        settings: of the run.
        kept: goes into `last.ckpt`, to see whether a run that is resumed is the same.
        facts: what else is kept with the best model.
    """

    def __init__(
        self, folder: Path, *, settings: Any, kept: Mapping[str, Any], facts: Mapping[str, Any] | None = None
    ) -> None:
        self.folder, self.settings, self.kept, self.facts = folder, settings, kept, facts or {}
        self.best: dict[str, Any] = {}
        self._saved_step = 0

    @abstractmethod
    def judge(self, trainer: Trainer, module: Any) -> dict[str, Any]:
        """Say how good the epoch's model is, in values that JSON takes."""

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
        judged = self.judge(trainer, module)
        if not self.best or self.rank(judged) > self.rank(self.best):
            self.best = judged
            if trainer.is_global_zero:
                self.write(module)


class Patience(EarlyStopping):
    """Early stopping, after `epochs` in vain, that a resumed run obeys as well."""

    def __init__(self, monitor: str, epochs: int) -> None:
        # checked after validation, so that the `last.ckpt` of the epoch's end holds the count
        mode = {"accuracy": "max", "loss": "min"}[monitor]
        super().__init__(f"validation_{monitor}", patience=epochs, mode=mode, check_on_train_epoch_end=False)

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
