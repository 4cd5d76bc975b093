"""Saving of a training of odometry: its place, and both networks when they are the best so far."""

from collections.abc import Mapping
from typing import Any

from vidcam.odometry.training.module import Odometry
from vidcam.odometry.training.networks import write_networks
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.training.lightning import LightningModule, Trainer
from vidcam.training.saving import Saving

JUDGES = ("validation_photometric", "loss")
"""What the best epoch is lowest in: the first of these that there is."""


class OdometrySaving(Saving):
    """Write `pose.safetensors` and `disp.safetensors` when the photometric loss of the validation is the lowest so far.

    Without validation the loss of the training tells.
    """

    settings: OdometrySettings

    def judge(self, trainer: Trainer, module: Odometry) -> dict[str, Any]:
        """Return the loss that tells how good the epoch's networks are."""
        if trainer.enable_validation:
            return {"epoch": trainer.current_epoch, JUDGES[0]: module.validated["photometric"]}
        return {"epoch": trainer.current_epoch, JUDGES[1]: module.history[-1]["loss"]}

    def rank(self, judged: Mapping[str, Any]) -> tuple[float, ...]:
        return (-next(judged[name] for name in JUDGES if name in judged),)

    def write(self, module: Odometry) -> None:
        write_networks(module.net, self.folder, self.settings, best=self.best)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the epoch before it is judged and saved."""
        assert isinstance(pl_module, Odometry)
        pl_module.close_epoch()
        super().on_train_epoch_end(trainer, pl_module)
