"""Settings of a training of pose and depth networks."""

from dataclasses import dataclass
from typing import Literal

from vidcam.errors import OptionError, unknown
from vidcam.models.sfmlearner.rotation import ROTATIONS
from vidcam.training.settings import RunSettings, at_least

SEEDS = 2**63  # of signed 64-bit numbers, those that are not negative


@dataclass(frozen=True)
class OdometrySettings(RunSettings):
    """Everything that the trained weights depend on; `train_odometry` explains each."""

    validation: Literal["none"] | tuple[str, ...] | None
    camera: str | None
    intrinsics: str | None
    static_list: str | None
    length: int
    size: tuple[int, int]
    batch: int
    epochs: int
    epoch_size: int | None
    learning_rate: float
    photometric: float
    smoothness: float
    explainability: float
    rotation: str
    augment: bool
    skip_static: bool
    pose: str | None
    disp: str | None
    seed: int
    save_every: int

    def __post_init__(self) -> None:
        if self.rotation not in ROTATIONS:
            raise OptionError(unknown("rotation", self.rotation, ROTATIONS))
        if len(self.size) != 2:
            raise OptionError(f"size needs a height and a width; given {self.size}")
        for name in ("batch", "epochs", "epoch_size", "save_every"):
            at_least(name, getattr(self, name), 1)
        if not 0 <= self.seed < SEEDS:
            raise OptionError(f"seed must be from 0 to {SEEDS - 1}; given {self.seed}")
        for name in ("learning_rate", "photometric"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} must be positive; given {getattr(self, name)}")
        for name in ("smoothness", "explainability"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} must not be negative; given {getattr(self, name)}")
