"""Which samples a batch holds: a function of seed, epoch and the batch's place alone, on any number of processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

Indices = npt.NDArray[np.int64]


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


def share(size: int, *, rank: int, world: int) -> list[int]:
    """Return one process's share of all samples, in their order; all processes get equally many, a few come twice."""
    return list(map(int, _shard(np.arange(size), rank, world)))


def _shard(samples: Indices, rank: int, world: int) -> Indices:
    """Cut samples into `world` equal parts, the first ones again at the end where they run out, and take one."""
    part = -(-len(samples) // world)
    return np.resize(samples, part * world)[rank * part : (rank + 1) * part]


def _balanced(classes: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return each sample's chance: the same for each class that there is."""
    _, which, counts = np.unique(np.asarray(classes), return_inverse=True, return_counts=True)
    return 1 / (counts[which] * len(counts))
