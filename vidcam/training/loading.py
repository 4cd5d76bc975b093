"""Loading: samples to learn from and to validate with as Lightning takes them, from any place in the run on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from vidcam.training.batches import Batches, share
from vidcam.training.lightning import LightningDataModule


@dataclass(eq=False)
class TrainingData(LightningDataModule):
    """Random samples to learn from, and others to validate with if there are any.

    Its state is the next batch, so that a resumed run goes on with it.
    """

    train: Any
    """A data set with `set_epoch` and a length."""
    validation: Any | None
    """The same samples in each epoch."""
    batch: int
    """Samples per step and device."""
    seed: int
    """Of the order."""
    workers: int
    """Processes that load ahead."""
    classes: Sequence[int] | None = None
    """Of each training sample, to draw all classes equally often."""
    join: Callable[[list[Any]], Any] = default_collate
    """Makes a batch of samples."""
    steps: int | None = None
    """The most in an epoch; None takes every sample once."""
    batches: Batches = field(init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def setup(self, stage: str) -> None:
        """Begin with the first batch; Lightning restores another place afterwards."""
        assert self.trainer is not None
        processes = {"rank": self.trainer.global_rank, "world": self.trainer.world_size}
        self.batches = Batches(
            len(self.train), batch=self.batch, seed=self.seed, classes=self.classes, most=self.steps, **processes
        )
        self._go(0, 0)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self.train, self.workers, self.join, batch_sampler=self.batches)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Load this process's share of the validation samples."""
        if self.validation is None:
            return []
        part = share(len(self.validation), rank=self.batches.rank, world=self.batches.world)
        return loader(self.validation, self.workers, self.join, sampler=part, batch_size=self.batch)

    def begin(self, epoch: int) -> None:
        """Go to the first batch of an epoch, unless this epoch was gone to before."""
        if self.batches.epoch != epoch:
            self._go(epoch, 0)

    def state_dict(self) -> dict[str, int]:
        """Return the batch that comes next."""
        assert self.trainer is not None
        epoch, batch = self.trainer.current_epoch, self.trainer.fit_loop.batch_idx + 1
        return {"epoch": epoch + 1, "batch": 0} if batch >= len(self.batches) else {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._go(state_dict["epoch"], state_dict["batch"])

    def _go(self, epoch: int, batch: int) -> None:
        self.batches.place(epoch, batch)
        self.train.set_epoch(epoch)


def loader(dataset: Dataset[Any], workers: int, join: Callable[[list[Any]], Any], **options: Any) -> DataLoader[Any]:
    """Load a data set in processes of its own, without touching torch's global chance."""
    return DataLoader(
        dataset,
        num_workers=workers,
        collate_fn=join,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else each pass takes a number from torch's global state
        **options,
    )
