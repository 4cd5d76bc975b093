"""Pictures of a training: what the networks make of one snippet, once an epoch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from vidcam.models.sfmlearner.network import next_reference
from vidcam.odometry.training.module import Odometry
from vidcam.rendering.coloring import colors
from vidcam.training.lightning import Callback, LightningModule, TensorBoardLogger, Trainer
from vidcam.types import Floats, Pixels

COLORMAP = "magma"


class Pictures(Callback):
    """Show TensorBoard one snippet, a sample of a `SnippetDataset`, after each epoch."""

    def __init__(self, sample: Mapping[str, Any]) -> None:
        self.batch: dict[str, Tensor] = default_collate([{key: sample[key] for key in ("clip", "intrinsics")}])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Odometry)
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if boards and trainer.is_global_zero:
            pictures = draw(pl_module, {key: value.to(pl_module.device) for key, value in self.batch.items()})
            for board in boards:
                for name, picture in pictures.items():
                    board.experiment.add_image(name, picture, trainer.current_epoch, dataformats="HWC")


def draw(module: Odometry, batch: Mapping[str, Tensor]) -> dict[str, Pixels]:
    """Draw a batch's first snippet, pictures (H, W, 3) by their names.

    They are the target, its depth (near is bright), the next frame as seen from the target and, where there are masks,
    that frame's (bright is what can be explained).
    """
    net = module.net
    assert net.disp is not None
    target, references = net.split(batch["clip"])
    with torch.no_grad():
        warped = module.losses(batch).warped[0]
        disparity = net.disp.at_all_scales(target)[0]
        masks, _ = net.pose.at_all_scales(target, references)
    following = next_reference(references.shape[1])
    pictures = {"target": _plain(target[0]), "depth": _colored(disparity[0, 0]), "warped": _plain(warped[0, following])}
    if masks is not None:
        pictures["mask"] = _bytes(masks[0][0, following].float().cpu().numpy()[..., None].repeat(3, axis=2))
    return pictures


def _plain(frame: Tensor) -> Pixels:
    """(3, H, W) in -1 to 1 -> (H, W, 3)."""
    return _bytes((frame.float().cpu().numpy().transpose(1, 2, 0) + 1) / 2)


def _colored(disparity: Tensor) -> Pixels:
    """(H, W) -> (H, W, 3), the nearest point bright."""
    values = disparity.double().cpu().numpy()
    return _bytes(colors(COLORMAP, values / values.max()))


def _bytes(values: Floats) -> Pixels:
    pixels: Pixels = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return pixels
