"""Settings: what a training run computes, and Machine: on what it computes it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from vidcam.data.augmentation import Augmentation
from vidcam.errors import OptionError, unknown

SCHEDULES = ("cosine", "plateau", "none")
BALANCES = ("none", "sampling", "loss")
MONITORS = ("accuracy", "loss")
LOGGERS = ("tensorboard", "csv", "none")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")


@dataclass(frozen=True)
class RunSettings:
    """Settings that a resumed run is compared by."""

    EXTENSIBLE: ClassVar[tuple[str, ...]] = ("epochs", "save_every")
    """What may change when a run is resumed; anything else would make it another run."""

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON gives them back."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return found

    def check_same(self, before: Mapping[str, Any]) -> None:
        """Raise an OptionError if a run with the settings `before` cannot be resumed with these."""
        for name, value in self.as_json().items():
            if name not in self.EXTENSIBLE and name in before and before[name] != value:
                raise OptionError(f"cannot resume: {name} was {before[name]!r}, given {value!r}; use another output")


@dataclass(frozen=True)
class Settings(RunSettings):
    """Everything that the trained weights depend on; `train` explains each."""

    EXTENSIBLE: ClassVar[tuple[str, ...]] = ("epochs", "early_stopping", "save_every", "backend", "test_split")

    model: str
    options: Mapping[str, Any]
    weights: str | None
    checkpoint: str | None
    train_split: str
    validation_split: str | None
    test_split: str | None
    epochs: int
    batch: int
    learning_rate: float
    head_learning_rate: float | None
    backbone_learning_rate: float | None
    weight_decay: float
    schedule: str
    warmup_epochs: float
    label_smoothing: float
    clip_gradients: float | None
    accumulate: int
    freeze: tuple[str, ...]
    class_balance: str
    early_stopping: int | None
    monitor: str
    augment: Mapping[str, Any] | None
    clips_per_video: int
    test_clips: int
    seed: int
    save_every: int
    backend: str

    def __post_init__(self) -> None:
        for kind, possible in (("schedule", SCHEDULES), ("class_balance", BALANCES), ("monitor", MONITORS)):
            if getattr(self, kind) not in possible:
                raise OptionError(unknown(kind, getattr(self, kind), possible))
        for name in ("epochs", "batch", "accumulate", "clips_per_video", "test_clips", "save_every", "early_stopping"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        for name in ("learning_rate", "clip_gradients"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise OptionError(f"{name} must be positive; given {getattr(self, name)}")
        for name in ("head_learning_rate", "backbone_learning_rate", "weight_decay", "warmup_epochs"):
            if getattr(self, name) is not None and not getattr(self, name) >= 0:
                raise OptionError(f"{name} must not be negative; given {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 1:
            raise OptionError(f"label_smoothing must be from 0 to below 1; given {self.label_smoothing}")

    @property
    def augmentation(self) -> Augmentation | None:
        """The random changes of the training clips; an OptionError names near matches of one that does not exist."""
        if self.augment is None:
            return None
        known = [part.name for part in fields(Augmentation)]
        for name in self.augment:
            if name not in known:
                raise OptionError(unknown("augmentation", name, known))
        ranges: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.augment.items()
        }
        return Augmentation(**ranges)


@dataclass(frozen=True)
class Machine:
    """Flags of Lightning's Trainer that say where it runs."""

    devices: int | str | Sequence[int] = "auto"
    accelerator: str = "auto"
    strategy: str = "auto"
    num_nodes: int = 1
    precision: str = "32-true"
    sync_batchnorm: bool = False
    workers: int = 0
    progress: bool = True
    logger: str = "none"
    log_folder: Path | None = field(default=None)

    def __post_init__(self) -> None:
        for kind, possible in (("logger", LOGGERS), ("precision", PRECISIONS)):
            if getattr(self, kind) not in possible:
                raise OptionError(unknown(kind, getattr(self, kind), possible))
        at_least("workers", self.workers, 0)
        at_least("num_nodes", self.num_nodes, 1)


def at_least(name: str, value: float | None, least: int) -> None:
    """Raise an OptionError if a setting that is not None is below the least that is possible."""
    if value is not None and value < least:
        raise OptionError(f"{name} must be at least {least}; given {value}")
