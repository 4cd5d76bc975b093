"""A run of training: begun or gone on with in its folder, and fitted on its machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcam.errors import OptionError
from vidcam.training.folder import leaving_none_empty, make_folder
from vidcam.training.lightning import Callback, LightningModule, Trainer
from vidcam.training.loading import TrainingData
from vidcam.training.saving import LAST, Saving, read_settings
from vidcam.training.settings import Machine, RunFolder, RunSettings
from vidcam.training.trainer import build_trainer, check_machine, quiet


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
            OptionError: the machine does not have what is asked for, or the folder holds a run that shall neither go on
                nor be replaced, or one of other settings or data.
            ModelError: `last.ckpt` is damaged.
        """
        check_machine(self.machine)
        with leaving_none_empty(self.folder), quiet():
            last = self._begin()
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

    def _begin(self) -> Path | None:
        """Make the folder and return the `last.ckpt` to go on from, if there is one."""
        make_folder(self.place, self.written)
        last = self.folder / LAST
        if not self.place.resume or not last.exists():
            return None
        before = read_settings(last)
        self.settings.check_same(before)
        for name, value in self.data.items():
            if before.get(name, value) != value:
                raise OptionError(
                    f"cannot resume: the {self.origin}'s {name} are not those of the run; use another output"
                )
        return last
