"""Lightning, installed for training only: its Trainer as vidcam uses it, on any devices, without its chatter."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import torch

from vidcam.errors import OptionError
from vidcam.media import replacing
from vidcam.training.settings import Machine, RunFolder

try:
    from lightning.fabric.plugins import TorchCheckpointIO
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar
    from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
except ModuleNotFoundError:
    raise OptionError('training needs Lightning, which is not installed: pip install "vidcam[train]"') from None

__all__ = [
    "Callback",
    "EarlyStopping",
    "LightningDataModule",
    "LightningModule",
    "TensorBoardLogger",
    "Trainer",
    "build_trainer",
    "gathered",
    "quiet",
    "rank_zero_only",
]

Part = TypeVar("Part")
DETERMINISTIC: dict[str, bool | Literal["warn"] | None] = {"no": None, "yes": True, "warn": "warn"}
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
LOGGER_NAMES = ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning")


class Telling(Callback):
    """Tell the loader which epoch begins."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.datamodule.begin(trainer.current_epoch)  # type: ignore[attr-defined]


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint beside its target and rename it; Lightning writes it where TMPDIR is, and copies it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Replace the file at once: a process that is killed leaves the one before."""
        with replacing(path, force=True) as part, part.open("wb") as file:
            torch.save(checkpoint, file)


def build_trainer(
    machine: Machine, place: RunFolder | None = None, *, callbacks: Sequence[Callback] = (), **options: Any
) -> Trainer:
    """Build a Trainer with callbacks beside its bar and options of its own; without a place it logs nothing.

    Raises:
        OptionError: a device, strategy or precision that this machine does not have, or more processes than processors.
    """
    bar = [RichProgressBar(console_kwargs={"stderr": True})] if machine.progress else []
    try:
        trainer = Trainer(
            devices=list(machine.devices) if isinstance(machine.devices, tuple) else machine.devices,  # type: ignore[arg-type]
            accelerator=machine.accelerator,
            strategy=machine.strategy,
            num_nodes=machine.num_nodes,
            precision=machine.precision,  # type: ignore[arg-type]
            deterministic=DETERMINISTIC[machine.deterministic],
            logger=_logger(place),
            callbacks=[Telling(), *callbacks, *bar],
            plugins=[WholeCheckpoints()],
            enable_progress_bar=machine.progress,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=10,
            **options,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise OptionError(f"the Trainer refuses: {' '.join(str(error).split())}") from None
    most = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise OptionError(f"devices must be at most {most} on this CPU; given {trainer.num_devices}")
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice on what vidcam does on purpose to itself; its errors still come.

    An interrupt is a `KeyboardInterrupt` again, which Lightning turns into an exit. What a Trainer sets for the process
    is put back.
    """
    with _flags_kept(), _quiet():
        yield


@contextmanager
def _flags_kept() -> Iterator[None]:
    """Put back what a Trainer sets for the whole process, to compute the same numbers again."""
    strict, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get(WORKSPACE)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        torch.backends.cudnn.benchmark = benchmark
        os.environ.pop(WORKSPACE, None)
        os.environ.update({} if workspace is None else {WORKSPACE: workspace})


@contextmanager
def _quiet() -> Iterator[None]:
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGER_NAMES)}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", module="torch.utils.data")
            yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for logger, level in levels.items():
            logger.setLevel(level)


def gathered(part: Part) -> list[Part]:
    """Return the parts of all processes, in each of them; what is no tensor too."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [part]
    parts = [part] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts


def _logger(place: RunFolder | None) -> Logger | bool:
    """Log under the run's folder; a run that is resumed gets files of its own."""
    if place is None or place.logger == "none":
        return False
    if place.logger == "csv":
        return CSVLogger(place.output, name="logs")
    try:
        return TensorBoardLogger(place.output, name="logs")
    except ModuleNotFoundError:
        raise OptionError("logger 'tensorboard' is not installed: pip install tensorboard, or take 'csv'") from None
