"""Loading: samples to learn from and to validate with as Lightning takes them, from any place in the run on.

Which samples a batch holds is a function of seed, epoch and the batch's place alone, on any number of processes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from vidcam.training.lightning import LightningDataModule
from vidcam.training.settings import RunSettings
from vidcam.types import Floats, Ints


@dataclass(eq=False)
class Batches(Sampler[list[int]]):
    """Batches for training, from any place in any epoch on.

    Each global batch is cut into as many equal parts as there are processes, so that several processes see what one
    sees whose batch is larger; where it cannot be, a few of its samples come twice.
    """

    size: int
    """Number of samples."""
    batch: int
    """Samples per process."""
    seed: int
    """Of the order."""
    classes: Sequence[int] | None = None
    """Of each sample, to draw all classes equally often (with repetition); None draws each sample once."""
    rank: int = 0
    """This process."""
    world: int = 1
    """Number of processes."""
    most: int | None = None
    """Batches of an epoch per process; None takes all samples."""

    def __post_init__(self) -> None:
        self.chances = None if self.classes is None else _balanced(self.classes)
        self.epoch = self.start = 0

    def __len__(self) -> int:
        all_samples = -(-self.size // (self.batch * self.world))
        return all_samples if self.most is None else min(all_samples, self.most)

    def place(self, epoch: int, start: int = 0) -> None:
        """Go to a batch of an epoch; the next pass begins there."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[list[int]]:
        rng, whole = np.random.default_rng((self.seed, self.epoch)), self.batch * self.world
        order = rng.permutation(self.size) if self.chances is None else rng.choice(self.size, self.size, p=self.chances)
        for i in range(self.start, len(self)):
            yield _shard(order[i * whole : (i + 1) * whole], self.rank, self.world).tolist()


@dataclass(eq=False)
class TrainingData(LightningDataModule):
    """Random samples to learn from, and others to validate with if there are any.

    Its state is the next batch, so that a resumed run goes on with it.
    """

    train: Any
    """A data set with `set_epoch` and a length."""
    validation: Any | None
    """The same samples in each epoch."""
    settings: RunSettings
    """For the samples per step and device, and the seed of their order."""
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
        batch, seed = self.settings.batch, self.settings.seed
        self.batches = Batches(len(self.train), batch, seed, self.classes, most=self.steps, **processes)
        self._go(0, 0)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self.train, self.workers, self.join, batch_sampler=self.batches)

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """Load this process's share of the validation samples."""
        if self.validation is None:
            return []
        part = share(len(self.validation), rank=self.batches.rank, world=self.batches.world)
        return loader(self.validation, self.workers, self.join, sampler=part, batch_size=self.settings.batch)

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


def share(size: int, *, rank: int, world: int) -> list[int]:
    """Return one process's share of all samples, in their order; all processes get equally many, a few come twice."""
    return list(map(int, _shard(np.arange(size), rank, world)))


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


def _shard(samples: Ints, rank: int, world: int) -> Ints:
    """Cut samples into `world` equal parts, the first ones again at the end where they run out, and take one."""
    part = -(-len(samples) // world)
    return np.resize(samples, part * world)[rank * part : (rank + 1) * part]


def _balanced(classes: Sequence[int]) -> Floats:
    """Return each sample's chance: the same for each class that there is."""
    _, which, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    return 1 / (counts[which] * len(counts))
