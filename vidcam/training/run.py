"""A run of training: begun or gone on with in its folder, and fitted on its machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcam.training.folder import leaving_none_empty, prepare_folder
from vidcam.training.lightning import Callback, LightningModule, Trainer
from vidcam.training.loading import TrainingData
from vidcam.training.saving import Saving
from vidcam.training.settings import Machine, RunFolder, RunSettings
from vidcam.training.trainer import build_trainer, check_machine, quiet


@dataclass(frozen=True)
class Run:
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
        self,
        module: LightningModule,
        data: TrainingData,
        saving: Saving,
        *,
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> Trainer:
        """Train, from the beginning or from where an earlier run was; what the machine cannot do touches no such run.

        Args:
            module: what learns.
            data: what it learns from and is validated with.
            saving: keeps its place and what is the best.
            callbacks: others.
            options: more of the Trainer's.

        Raises:
            OptionError: see `prepare_folder` and `check_machine`.
            ModelError: `last.ckpt` is damaged.
        """
        check_machine(self.machine)
        with leaving_none_empty(self.folder), quiet():
            last = prepare_folder(self.place, self.settings, self.data, origin=self.origin, written=self.written)
            trainer = build_trainer(
                self.machine,
                self.place,
                callbacks=[saving, *callbacks],
                max_epochs=self.settings.epochs,
                limit_val_batches=0 if data.validation is None else None,
                **options,
            )
            trainer.fit(module.train(), datamodule=data, ckpt_path=last, weights_only=True)
            trainer.strategy.barrier()
        return trainer
