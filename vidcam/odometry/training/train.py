"""Fitting of odometry: train SfMLearner's pose and depth networks on drives, without labels."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.data import default_collate

from vidcam.errors import ModelError
from vidcam.odometry.training.module import Odometry, OdometrySaving
from vidcam.odometry.training.networks import DISP, POSE, starting_networks
from vidcam.odometry.training.pictures import Pictures
from vidcam.odometry.training.report import CURVES, OdometryTraining, measure
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.splits import SplitDrives, split_drives
from vidcam.options import takes
from vidcam.training.lightning import rank_zero_only
from vidcam.training.loading import TrainingData
from vidcam.training.report import REPORT
from vidcam.training.run import LAST, TrainingRun
from vidcam.training.settings import Machine, RunFolder

WRITTEN = (LAST, POSE, DISP, REPORT, CURVES)
"""What a run leaves in its folder, beside the logs."""


@takes(OdometrySettings, Machine, RunFolder)
def train_odometry(
    data: str | Path | Sequence[str | Path], *, settings: OdometrySettings, machine: Machine, place: RunFolder
) -> OdometryTraining:
    """Train a pose and a depth network on drives: each picture must look like its neighbors as seen from its place.

    No labels are needed (Zhou et al. 2017); true poses, where drives have them, are only measured against. The output
    folder gets `pose.safetensors` and `disp.safetensors`, the best networks so far, which
    `load_model("sfmlearner", pose=..., disp=...)` takes and whose keys are those of the published checkpoints;
    `last.ckpt`, from which a run that was killed goes on; `report.json`, `curves.png`, and the logs, to which
    TensorBoard adds pictures of depth, warped frame and mask after each epoch. The weights are a function of the drives
    and the settings: a run that was killed and resumed ends with those of one that was not. On a GPU that is so but for
    rounding: torch has no deterministic gradient of the warping there, which `deterministic="yes"` therefore refuses;
    "warn" makes all else so.

    The best epoch has the lowest photometric loss on the frames that validate, masks left aside; without such frames,
    the lowest loss. Whatever the precision, the loss is computed in 32 bits.

    Args:
        data: a KITTI folder `dataset`, a root of prepared scenes, a drives.csv, or single drives; or several of them.

    Raises:
        OptionError: a choice that does not exist, no snippet to learn from, a drive without intrinsics, or a folder
            that holds a run.
        ModelError: a checkpoint that does not fit, a size that is too small, or a loss that is not finite.
        MediaError: there is no drive, or one is shorter than a snippet or cannot be read.
    """
    roots = [data] if isinstance(data, str | Path) else list(data)
    module = Odometry(starting_networks(settings), settings)
    split = split_drives(roots, settings)
    _check_snippets(module, split)
    run = TrainingRun(settings, machine, place, split.facts, origin="data", written=WRITTEN)
    samples = TrainingData(split.train, split.validation, settings, machine.workers, steps=settings.epoch_size)
    saving = OdometrySaving(run)
    trainer = run.fit(module, samples, saving, Pictures((split.validation or split.train)[0]))
    report = OdometryTraining(
        data=tuple(map(str, roots)),
        drives=tuple({"name": d.name, "frames": d.frames, "size": [d.height, d.width]} for d in split.drives),
        validation=split.how,
        snippets=split.facts["snippets"],
        left_out=dict(split.train.dataset.left_out),
        settings=settings.as_json(),
        history=tuple(module.history),
        best=saving.best,
        odometry=tuple(measure(run.folder / POSE, split, device=trainer.strategy.root_device)),
    )
    rank_zero_only(report.write)(run.folder)
    return report


def _check_snippets(module: Odometry, split: SplitDrives) -> None:
    """Compute the loss of the first snippets, so that what cannot be done fails before an earlier run is touched."""
    for part in filter(None, (split.train, split.validation)):
        batch = default_collate([{key: part[0][key] for key in ("clip", "intrinsics")}])
        with torch.no_grad():
            loss = module.losses(batch).total.item()
        if not math.isfinite(loss):
            raise ModelError(
                f"the loss is {loss} before any step; look at the weights to start from and the intrinsics"
            )
