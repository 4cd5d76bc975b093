"""A run of training: begun or gone on with in its folder, and fitted on its machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidcam.errors import OptionError
from vidcam.media.files import leaving_none_empty
from vidcam.training.lightning import Callback, LightningModule, Trainer, rank_zero_only
from vidcam.training.loading import TrainingData
from vidcam.training.saving import LAST, Saving, read_settings
from vidcam.training.settings import Machine, RunFolder, RunSettings
from vidcam.training.trainer import build_trainer, quiet


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
        self, module: LightningModule, data: TrainingData, saving: Saving, *others: Callback, **options: Any
    ) -> Trainer:
        """Train, from the beginning or from where an earlier run was; what the machine cannot do touches no such run.

        The options are the Trainer's.

        Raises:
            OptionError: the machine does not have what is asked for, or the folder holds a run that shall neither go on
                nor be replaced, or one of other settings or data.
            ModelError: `last.ckpt` is damaged.
        """
        with leaving_none_empty(self.folder), quiet():
            options |= {"max_epochs": self.settings.epochs, "limit_val_batches": 0 if data.validation is None else None}
            trainer = build_trainer(self.machine, self.place, callbacks=[saving, *others], **options)
            self._make_folder()
            last = self._resumed()
            trainer.fit(module.train(), datamodule=data, ckpt_path=last, weights_only=True)
            trainer.strategy.barrier()
        return trainer

    @rank_zero_only
    def _make_folder(self) -> None:
        """Make the folder; where a run begins anew, delete the files of an earlier one."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot make the folder {str(self.folder)!r}: {error.strerror}") from None
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
