"""Saving of a classifier: its checkpoint when it is the best so far, and what could not be read."""

import json
from collections.abc import Mapping
from typing import Any

from vidcam.models.checkpoint import write_checkpoint
from vidcam.training.classifier.module import Classifier
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.lightning import LightningModule, Trainer
from vidcam.training.saving import Saving
from vidcam.training.trainer import gathered

BEST = "checkpoint.safetensors"
SKIPPED = "skipped.json"


class ClassifierSaving(Saving):
    """Write `checkpoint.safetensors` when a classifier is the best; without a validation split the last one is.

    The best has the highest accuracy on the validation split (ties: the lower loss), or the lowest loss.
    """

    settings: ClassifierSettings

    def judge(self, trainer: Trainer, module: Classifier) -> dict[str, Any]:
        """Return what the validation split says of the epoch's model."""
        if module.measured is None:
            return {"epoch": trainer.current_epoch}
        said = module.measured
        return {"epoch": trainer.current_epoch, "accuracy": said.per_video.top(1), "loss": said.loss}

    def rank(self, judged: Mapping[str, Any]) -> tuple[float, ...]:
        if "loss" not in judged:
            return (judged["epoch"],)
        return (judged["accuracy"], -judged["loss"]) if self.settings.monitor == "accuracy" else (-judged["loss"],)

    def write(self, module: Classifier) -> None:
        facts = {**self.facts, "training": {**self.kept, "best": self.best}}
        write_checkpoint(module.model, self.folder / BEST, facts=facts, force=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the training videos that could not be read, in any process."""
        dataset = trainer.datamodule.train  # type: ignore[attr-defined]
        mine = {str(dataset.rows[i].path): why for i, why in dataset.broken().items()}
        everything = {path: why for part in gathered(mine) for path, why in part.items()}
        if trainer.is_global_zero:
            (self.folder / SKIPPED).write_text(json.dumps(dict(sorted(everything.items())), indent=1) + "\n")
