"""Running: Lightning's Trainer as vidcam uses it, on any number of devices and machines, without its chatter."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vidcam.errors import OptionError
from vidcam.training.settings import Machine

LOGGER_NAMES = ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning")


def build_trainer(machine: Machine, *, callbacks: Sequence[Callback] = (), **options: Any) -> Trainer:
    """Build a Trainer.

    Raises:
        OptionError: a device, strategy or precision that this machine does not have.
    """
    bar = [RichProgressBar(console_kwargs={"stderr": True})] if machine.progress else []
    try:
        return Trainer(
            devices=list(machine.devices) if isinstance(machine.devices, tuple) else machine.devices,  # type: ignore[arg-type]
            accelerator=machine.accelerator,
            strategy=machine.strategy,
            num_nodes=machine.num_nodes,
            precision=machine.precision,  # type: ignore[arg-type]
            sync_batchnorm=machine.sync_batchnorm,
            logger=_logger(machine),
            callbacks=[*callbacks, *bar],
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


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice on what vidcam does on purpose to itself; its errors still come.

    An interrupt is a `KeyboardInterrupt` again, which Lightning turns into an exit.
    """
    loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
    levels = [logger.level for logger in loggers]
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    for logger in loggers:
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
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _logger(machine: Machine) -> Logger | bool:
    """Log under the run's folder; a run that is resumed gets files of its own."""
    if machine.logger == "none" or machine.log_folder is None:
        return False
    if machine.logger == "csv":
        return CSVLogger(machine.log_folder, name="logs")
    try:
        return TensorBoardLogger(machine.log_folder, name="logs")
    except ModuleNotFoundError:
        raise OptionError("logger 'tensorboard' is not installed: pip install tensorboard, or take 'csv'") from None
