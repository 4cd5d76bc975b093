"""What vidcam takes of Lightning, which is installed for training only."""

from vidcam.errors import OptionError

try:
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.callbacks import EarlyStopping, RichProgressBar
    from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
except ModuleNotFoundError:
    raise OptionError('training needs Lightning, which is not installed: pip install "vidcam[train]"') from None

__all__ = [
    "CPUAccelerator",
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LightningDataModule",
    "LightningModule",
    "Logger",
    "MisconfigurationException",
    "RichProgressBar",
    "TensorBoardLogger",
    "Trainer",
    "rank_zero_only",
]
