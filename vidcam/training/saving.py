"""Saving: a run's place, so that it can be resumed, and the best model so far, so that it can be explained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from vidcam.errors import ModelError
from vidcam.models.checkpoint import write_checkpoint
from vidcam.training.classifier import Classifier
from vidcam.training.predictions import Predictions

LAST = "last.ckpt"
BEST = "checkpoint.safetensors"
SKIPPED = "skipped.json"


class Saving(Callback):
    """Write `last.ckpt` every few steps and after each epoch, and `checkpoint.safetensors` when a model is the best.

    Without a validation split the last model is the best one.

    Args:
        folder: where both go.
        settings: kept in `last.ckpt`, to see whether a run that is resumed is the same.
        facts: kept in the other.
        every: steps of the optimizer.
        monitor: "accuracy" (ties: the lower loss) or "loss" of the validation split.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, Any], facts: Mapping[str, Any], every: int, monitor: str
    ) -> None:
        self.folder, self.settings, self.facts = folder, settings, facts
        self.every, self.monitor = every, monitor
        self.best: dict[str, Any] = {}
        self._saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was best so far, and the settings."""
        return {"best": self.best, "settings": json.dumps(self.settings)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember what was best before."""
        self.best = state_dict["best"]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save in the middle of an epoch; its end has a hook of its own."""
        step = trainer.global_step
        if step != self._saved_step and step % self.every == 0 and not trainer.is_last_batch:
            self._saved_step = step
            trainer.save_checkpoint(self.folder / LAST)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the model if it is the best so far."""
        assert isinstance(pl_module, Classifier) and pl_module.measured is not None
        found = self._measure(pl_module.measured, trainer.current_epoch)
        if not self.best or self._rank(found) > self._rank(self.best):
            self.best = found
            self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, after validation; without one, write the model too."""
        assert isinstance(pl_module, Classifier)
        if pl_module.measured is None:
            self.best = {"epoch": trainer.current_epoch}
            self._write(trainer, pl_module)
        trainer.save_checkpoint(self.folder / LAST)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the training videos that could not be read, in any process."""
        dataset = trainer.datamodule.train  # type: ignore[attr-defined]
        mine = {str(dataset.rows[i].path): why for i, why in dataset.broken().items()}
        parts = [mine]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts = [mine] * trainer.world_size
            torch.distributed.all_gather_object(parts, mine)
        if trainer.is_global_zero:
            everything = {path: why for part in parts for path, why in part.items()}
            (self.folder / SKIPPED).write_text(json.dumps(dict(sorted(everything.items())), indent=1) + "\n")

    def _measure(self, said: Predictions, epoch: int) -> dict[str, Any]:
        return {"epoch": epoch, "accuracy": said.per_video.top(1), "loss": said.loss}

    def _rank(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        return (found["accuracy"], -found["loss"]) if self.monitor == "accuracy" else (-found["loss"],)

    def _write(self, trainer: Trainer, module: Classifier) -> None:
        if trainer.is_global_zero:
            facts = {**self.facts, "training": {**self.settings, "best": self.best}}
            write_checkpoint(module.model, self.folder / BEST, facts=facts, force=True)


class Patience(EarlyStopping):
    """Early stopping that a resumed run obeys as well.

    Args:
        monitor: "accuracy" or "loss" of the validation split.
        epochs: without a better value.
    """

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
        found: dict[str, Any] = json.loads(next(s for s in states.values() if "settings" in s)["settings"])
    except Exception:  # given garbage, the readers raise whatever they stumble upon
        raise ModelError(f"{path} is damaged, or not of a training run of vidcam's") from None
    return found
