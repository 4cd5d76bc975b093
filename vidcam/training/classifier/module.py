"""Classifier: how a model learns, each part at its rate, and what is kept of its answers and of itself."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from vidcam.attribution.layers import call
from vidcam.errors import MediaError, ModelError, OptionError, unknown
from vidcam.media import replacing
from vidcam.models.checkpoint import write_checkpoint
from vidcam.models.head import BACKBONE, head_names
from vidcam.models.model import Model
from vidcam.training.classifier.report import Predictions, merge
from vidcam.training.classifier.settings import ClassifierSettings
from vidcam.training.lightning import LightningModule, Trainer, gathered
from vidcam.training.run import Saving

BEST = "checkpoint.safetensors"
SKIPPED = "skipped.json"
PLATEAU_PATIENCE = 3  # epochs without a better loss before the rate falls to a tenth


class Classifier(LightningModule):
    """A model's network with its loss, its optimizer and its answers.

    All chance in a step, such as dropout, is a function of the seed, the epoch, the batch and the process alone, so
    that a resumed run repeats what an uninterrupted one does.
    """

    def __init__(
        self,
        model: Model,
        settings: ClassifierSettings = ClassifierSettings(),  # noqa: B008  # it is frozen
        *,
        class_weights: Tensor | None = None,
        keep_in: Path | None = None,
    ) -> None:
        super().__init__()
        self.model, self.net, self.settings = model, model.net, settings
        self.frozen = frozen_parts(model.net, settings.freeze)
        for part in self.frozen:
            part.requires_grad_(False)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.keep_in = keep_in
        """Where the answers of a test go: a `.npz`."""
        self.measured: Predictions | None = None
        """The answers of the last validation."""
        self._answers: list[Predictions] = []

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        """(B, 3, T, H, W), or such by the names of several inputs -> (B, K) logits."""
        return self.model.answer(call(self.net, self.model.arrange(x)))

    def train(self, mode: bool = True) -> "Classifier":
        """Set the mode; frozen parts stay in eval mode, so that their statistics do not drift."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed this step's chance."""
        place = (self.settings.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if not len(batch["y"]):  # none of its videos can be read
            return sum((p.sum() for p in self.parameters() if p.requires_grad), torch.zeros(())) * 0
        values = self(batch["x"])
        loss = self.loss(values, batch["y"])
        if self.trainer.is_last_batch and not loss.isfinite():
            raise ModelError(f"the loss is {loss.item()} in epoch {self.current_epoch}; lower the learning rate")
        hits = (values.detach().argmax(dim=1) == batch["y"]).float().mean()
        for name, value in (("loss", loss.detach()), ("accuracy", hits)):
            self.log(name, value, prog_bar=True)
            self.log(f"train_{name}", value, on_step=False, on_epoch=True, batch_size=len(batch["y"]))
        return loss

    def loss(self, values: Tensor, y: Tensor) -> Tensor:
        """(B, K) logits, (B,) classes -> the mean cross entropy; with class weights, the mean of the weighted ones."""
        smoothing = self.settings.label_smoothing
        each = functional.cross_entropy(values.float(), y, reduction="none", label_smoothing=smoothing)
        return each.mean() if self.class_weights is None else (each * self.class_weights[y]).mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        if not len(batch["y"]):
            return
        said = self(batch["x"]).float().softmax(dim=1)
        video, clip, truth = (batch[name].cpu().numpy() for name in ("video", "clip", "y"))
        self._answers.append(Predictions(video, clip, truth, said.double().cpu().numpy()))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Measure the answers of all processes, and let a plateau lower the rates."""
        self.measured = self._collected({})
        loss, accuracy = self.measured.loss, self.measured.per_video.top(1)
        self.log_dict({"validation_loss": loss, "validation_accuracy": accuracy}, prog_bar=True, sync_dist=True)
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss)

    def on_test_epoch_end(self) -> None:
        """Write the answers of all processes to `keep_in`, once where it is the same file for all."""
        assert self.keep_in is not None
        loaded: Any = self.trainer.test_dataloaders
        answers = self._collected(loaded.dataset.broken())
        if self.trainer.is_global_zero:
            answers.save(self.keep_in)
        self.trainer.strategy.barrier()
        if not self.keep_in.exists():
            answers.save(self.keep_in)

    def configure_optimizers(self) -> Any:
        steps, epochs = int(self.trainer.estimated_stepping_batches), max(self.settings.epochs, 1)
        chosen = optimizer(self.net, self.settings)
        scheduler = schedule(chosen, self.settings, steps=steps, steps_per_epoch=steps / epochs)
        if isinstance(scheduler, ReduceLROnPlateau):
            return [chosen], [{"scheduler": scheduler, "monitor": "validation_loss", "strict": False}]
        return [chosen], [{"scheduler": scheduler, "interval": "step"}]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step what depends on the step; a plateau was told already, before the epoch's checkpoint was saved."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()

    def _collected(self, broken: Mapping[int, str]) -> Predictions:
        """Join the answers of all batches and processes, with the videos that this one could not read."""
        empty = np.zeros(0, dtype=np.int64)
        none = Predictions(empty, empty, empty, np.zeros((0, len(self.model.labels))), broken)
        answers = merge(gathered(merge([none, *self._answers])))
        self._answers.clear()
        if not len(answers.video):
            raise MediaError("none of the split's videos can be read")
        return answers


class ClassifierSaving(Saving):
    """Write `checkpoint.safetensors` when a classifier is the best; without a validation split the last one is.

    The best has the highest accuracy on the validation split (ties: the lower loss), or the lowest loss.
    """

    settings: ClassifierSettings

    def judge(self, trainer: Trainer, module: Classifier) -> dict[str, Any]:
        """Return what the validation split says of the epoch's model."""
        said = module.measured
        return {} if said is None else {"accuracy": said.per_video.top(1), "loss": said.loss}

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
            with replacing(self.folder / SKIPPED, force=True) as part:
                part.write_text(json.dumps(dict(sorted(everything.items())), indent=1) + "\n", encoding="utf-8")


def class_weights(classes: list[int], count: int) -> Tensor:
    """Weigh each class by how rare it is, (K,); the mean over the samples is 1."""
    counts = torch.bincount(torch.tensor(classes), minlength=count).float()
    present = int((counts > 0).sum())
    return torch.where(counts > 0, len(classes) / (present * counts.clamp(min=1)), 1.0)


def frozen_parts(net: nn.Module, freeze: Sequence[str]) -> list[nn.Module]:
    """Find the parts to freeze: names as in `net.named_modules()`, or "backbone" for all but the head."""
    known = dict(net.named_modules())
    frozen: list[nn.Module] = []
    for name in freeze:
        if name in known and name:
            frozen.append(known[name])
        elif name == BACKBONE:
            frozen += [part for child, part in net.named_children() if child not in head_names(net)]
        else:
            raise OptionError(unknown("part to freeze", name, [BACKBONE, *dict(net.named_children())]))
    return frozen


def optimizer(net: nn.Module, settings: ClassifierSettings) -> torch.optim.Optimizer:
    """Build AdamW with a group per part; frozen parameters are in none, and an OptionError says if all are frozen."""
    heads = head_names(net)
    rates = {BACKBONE: settings.backbone_learning_rate, "head": settings.head_learning_rate}
    groups: list[dict[str, Any]] = []
    for part, rate in rates.items():
        inside = [p for name, p in net.named_parameters() if p.requires_grad and _part(name, heads) == part]
        if inside:
            groups.append({"params": inside, "lr": settings.learning_rate if rate is None else rate, "name": part})
    if not groups:
        raise OptionError(f"nothing to train: all parameters of {settings.model} are frozen")
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def schedule(
    chosen: torch.optim.Optimizer, settings: ClassifierSettings, *, steps: int, steps_per_epoch: float
) -> LambdaLR | ReduceLROnPlateau:
    """Build what changes the learning rates: `LambdaLR` after each of the `steps`, a plateau after each validation."""
    if settings.schedule == "plateau":
        return ReduceLROnPlateau(chosen, factor=0.1, patience=PLATEAU_PATIENCE)
    warm = settings.warmup_epochs * steps_per_epoch
    cosine = settings.schedule == "cosine"

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        done = min((step - warm) / max(steps - warm, 1), 1.0)
        return (1 + math.cos(math.pi * done)) / 2 if cosine else 1.0

    return LambdaLR(chosen, factor)


def _part(name: str, heads: Sequence[str]) -> str:
    return "head" if name.split(".")[0] in heads else BACKBONE
