"""Odometry: how a pose network and a depth network learn from a batch of snippets, and are saved."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vidcam.errors import ModelError
from vidcam.models.sfmlearner.losses import Losses, LossWeights, sfm_losses
from vidcam.models.sfmlearner.network import SfMLearner
from vidcam.odometry.training.networks import write_networks
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.training.lightning import LightningModule, Trainer
from vidcam.training.run import Saving

TERMS = ("loss", "photometric", "smoothness", "explainability")
BETAS = (0.9, 0.999)
JUDGES = ("validation_photometric", "loss")
"""What the best epoch is lowest in: the first of these that there is."""


class Odometry(LightningModule):
    """SfMLearner's networks with their loss and their optimizer (Zhou et al. 2017).

    There is no chance in a step: a batch and the weights before it tell the weights after it.
    """

    def __init__(self, net: SfMLearner, settings: OdometrySettings) -> None:
        super().__init__()
        self.net, self.settings = net, settings
        self.weights = LossWeights(settings.photometric, settings.smoothness, settings.explainability)
        self.history: list[dict[str, float]] = []
        """The mean of each term in each epoch."""
        self.validated: dict[str, float] = {}
        """The same of the last validation."""
        self._learned, self._seen = Means(), Means()

    def losses(self, batch: Mapping[str, Tensor], *, masked: bool = True) -> Losses:
        """Return the losses of a batch's snippets; unmasked, no pixel is explained away."""
        assert self.net.disp is not None
        target, references = self.net.split(batch["clip"])
        masks, pose = self.net.pose.at_all_scales(target, references)
        disparities = self.net.disp.at_all_scales(target)
        with torch.autocast(target.device.type, enabled=False):  # half precision loses the pixels' places
            return sfm_losses(
                target.float(),
                references.float(),
                batch["intrinsics"].float(),
                [disparity.float() for disparity in disparities],
                pose.float(),
                [mask.float() for mask in masks] if masks is not None and masked else None,
                weights=self.weights,
                rotation=self.settings.rotation,
            )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        values = self._learned.add(losses)
        if not all(map(math.isfinite, values.values())):
            told = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
            raise ModelError(f"the loss is not finite in epoch {self.current_epoch} ({told}); lower the learning rate")
        self.log("loss", values["loss"], prog_bar=True)
        self.log_dict({f"step_{name}": values[name] for name in TERMS[1:]})
        return losses.total.mean()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Add the losses of a batch; without masks, or a network that explains everything away would be the best."""
        self._seen.add(self.losses(batch, masked=False))

    def on_validation_epoch_end(self) -> None:
        """Measure over all processes."""
        self.validated = self._seen.take(self)
        if not all(map(math.isfinite, self.validated.values())):
            raise ModelError(
                f"the validation loss is not finite in epoch {self.current_epoch}; lower the learning rate"
            )
        self.log("validation_photometric", self.validated["photometric"], prog_bar=True)

    def close_epoch(self) -> None:
        """Add the epoch to the history and to the log."""
        row = self._learned.take(self)
        if self.trainer.enable_validation:
            row |= {f"validation_{name}": self.validated[name] for name in TERMS[1:3]}
        for logger in self.loggers:
            logger.log_metrics({f"epoch_{name}": value for name, value in row.items()}, step=self.current_epoch)
        self.history.append({"epoch": self.current_epoch, "steps": self.global_step, **row})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history, and the sums of an epoch that is not over."""
        checkpoint["history"] = {"epochs": self.history, "sums": self._learned.sums, "count": self._learned.count}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        before = checkpoint["history"]
        self.history = list(before["epochs"])
        self._learned = Means(dict(before["sums"]), before["count"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net.parameters(), lr=self.settings.learning_rate, betas=BETAS, fused=True)


class OdometrySaving(Saving):
    """Write `pose.safetensors` and `disp.safetensors` when the photometric loss of the validation is the lowest so far.

    Without validation the loss of the training tells.
    """

    settings: OdometrySettings

    def judge(self, trainer: Trainer, module: Odometry) -> dict[str, Any]:
        """Return the loss that tells how good the epoch's networks are."""
        if trainer.enable_validation:
            return {JUDGES[0]: module.validated["photometric"]}
        return {JUDGES[1]: module.history[-1]["loss"]}

    def rank(self, judged: Mapping[str, Any]) -> tuple[float, ...]:
        return (-next(judged[name] for name in JUDGES if name in judged),)

    def write(self, module: Odometry) -> None:
        write_networks(module.net, self.folder, self.settings, best=self.best)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch before it is judged and saved."""
        assert isinstance(pl_module, Odometry)
        pl_module.close_epoch()
        super().on_train_epoch_end(trainer, pl_module)


class Means:
    """Means of the loss and its terms over the samples so far."""

    def __init__(self, sums: dict[str, float] | None = None, count: int = 0) -> None:
        self.sums, self.count = sums or dict.fromkeys(TERMS, 0.0), count

    def add(self, losses: Losses) -> dict[str, float]:
        """Add a batch, and return its own means."""
        parts = (losses.total, losses.photometric, losses.smoothness, losses.explainability)
        values = torch.stack([part.detach().sum() for part in parts]).tolist()  # one wait for the device
        n, sums = len(losses.total), dict(zip(TERMS, values, strict=True))
        self.count += n
        self.sums = {name: self.sums[name] + value for name, value in sums.items()}
        return {name: value / n for name, value in sums.items()}

    def take(self, module: LightningModule) -> dict[str, float]:
        """Return the means over all processes, and begin anew."""
        local = torch.tensor([*self.sums.values(), self.count], device=module.device)
        *sums, count = module.trainer.strategy.reduce(local, reduce_op="sum").tolist()
        self.sums, self.count = dict.fromkeys(TERMS, 0.0), 0
        return {name: value / count for name, value in zip(TERMS, sums, strict=True)}
