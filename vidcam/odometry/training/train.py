"""Fitting of odometry: train SfMLearner's pose and depth networks on drives, without labels."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from torch.utils.data import default_collate

from vidcam.errors import ModelError, OptionError
from vidcam.odometry.training.measuring import measure
from vidcam.odometry.training.module import Odometry
from vidcam.odometry.training.networks import DISP, POSE, starting_networks
from vidcam.odometry.training.pictures import Pictures
from vidcam.odometry.training.report import CURVES, REPORT, OdometryTraining
from vidcam.odometry.training.saving import OdometrySaving
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.splits import NO_VALIDATION, SplitDrives, split_drives
from vidcam.training.folder import leaving_none_empty, prepare_folder
from vidcam.training.loading import TrainingData
from vidcam.training.saving import LAST
from vidcam.training.settings import Machine
from vidcam.training.trainer import build_trainer, quiet

WRITTEN = (LAST, POSE, DISP, REPORT, CURVES)
"""What a run leaves in its folder, beside the logs."""


def train_odometry(
    data: str | Path | Sequence[str | Path],
    *,
    output: str | Path,
    validation: str | Sequence[str] | None = None,
    camera: str | None = None,
    intrinsics: str | Path | None = None,
    static_list: str | Path | None = None,
    length: int = 3,
    size: Sequence[int] = (128, 416),
    batch: int = 4,
    epochs: int = 50,
    epoch_size: int | None = None,
    learning_rate: float = 2e-4,
    photometric: float = 1.0,
    smoothness: float = 0.1,
    explainability: float = 0.0,
    rotation: str = "euler",
    augment: bool = True,
    skip_static: bool = True,
    pose: str | Path | None = None,
    disp: str | Path | None = None,
    seed: int = 0,
    workers: int = 0,
    devices: int | str | Sequence[int] = "auto",
    accelerator: str = "auto",
    strategy: str = "auto",
    precision: str = "32-true",
    num_nodes: int = 1,
    resume: bool = False,
    force: bool = False,
    save_every: int = 500,
    logger: str = "tensorboard",
    progress: bool = True,
) -> OdometryTraining:
    """Train a pose and a depth network on drives: each picture must look like its neighbors as seen from its place.

    No labels are needed (Zhou et al. 2017); true poses, where drives have them, are only measured against. The output
    folder gets `pose.safetensors` and `disp.safetensors`, the best networks so far, which
    `load_model("sfmlearner", pose=..., disp=...)` takes and whose keys are those of the published checkpoints;
    `last.ckpt`, from which a run that was killed goes on; `report.json`, `curves.png`, and the logs. The weights are a
    function of the drives and the settings: a run that was killed and resumed ends with those of one that was not.

    The best epoch has the lowest photometric loss on the frames that validate, masks left aside; without such frames,
    the lowest loss.

    Args:
        data: a KITTI folder `dataset`, a root of prepared scenes, a drives.csv, or single drives; or several of them.
        output: a folder.
        validation: names of the drives that validate, or "none"; None takes those of val.txt or drives.csv, or else
            the last tenth of each drive's frames.
        camera: in KITTI's layout, as "image_0"; None takes image_2 where it is there.
        intrinsics: of all drives, in the place of their own: "fx,fy,cx,cy" in pixels, or a file of 3 by 3 numbers.
        static_list: a file of frames in which the camera stands still, see `vidcam.data.drives.static_frames`.
        length: frames of a snippet, odd; the middle one is the target, the others are warped to it.
        size: (H, W) of the networks' frames.
        batch: snippets per step and device.
        epochs: how often each snippet is seen.
        epoch_size: the most steps in an epoch; None takes all snippets.
        learning_rate: of Adam.
        photometric: weight of the difference between the target and what is warped to it.
        smoothness: weight of depth's second derivatives.
        explainability: weight of the masks' cross entropy; zero leaves the branch of masks out.
        rotation: how pose vectors are read: "euler" or "quat".
        augment: whether to mirror, enlarge and crop at random.
        skip_static: whether to leave out snippets in which the camera stands still.
        pose: a checkpoint of the pose network to start from, of vidcam's or a published one.
        disp: one of the depth network.
        seed: of all chance.
        workers: processes that load ahead, per device.
        devices: Lightning's: how many, or which.
        accelerator: Lightning's: "cpu", "gpu" or "auto".
        strategy: Lightning's: "ddp" and others.
        precision: Lightning's: "32-true", "16-mixed", "bf16-mixed"; the loss is always computed in 32 bits.
        num_nodes: machines.
        resume: go on from the output's `last.ckpt`; without one, begin.
        force: begin anew in a folder that holds a run.
        save_every: steps from one `last.ckpt` to the next; each epoch ends with one as well.
        logger: "tensorboard", which also gets pictures of depth, warped frame and mask after each epoch; "csv" or
            "none".
        progress: whether to show a bar on stderr.

    Raises:
        OptionError: a choice that does not exist, no snippet to learn from, a drive without intrinsics, or a folder
            that holds a run.
        ModelError: a checkpoint that does not fit, a size that is too small, or a loss that is not finite.
        MediaError: there is no drive, or one is shorter than a snippet or cannot be read.
    """
    given = dict(locals())
    folder = Path(output)
    settings, machine = _settings(given), _machine(given | {"log_folder": folder})
    roots = [data] if isinstance(data, str | Path) else list(data)
    module = Odometry(starting_networks(settings), settings)
    split = split_drives(roots, settings)
    with quiet():  # let the Trainer refuse what it cannot do, before an earlier run is touched
        _check_devices(build_trainer(replace(machine, logger="none")))
    _check_snippets(module, split)
    with leaving_none_empty(folder):
        last = prepare_folder(folder, settings, split.facts, origin="data", written=WRITTEN, resume=resume, force=force)
        best, device = _fit(module, split, machine, folder, last)
    report = OdometryTraining(
        data=tuple(map(str, roots)),
        drives=tuple({"name": d.name, "frames": d.frames, "size": [d.height, d.width]} for d in split.drives),
        validation=split.how,
        snippets=split.facts["snippets"],
        left_out=dict(split.train.dataset.left_out),
        settings=settings.as_json(),
        history=tuple(module.history),
        best=best,
        odometry=tuple(measure(folder / POSE, split, device=device)),
    )
    rank_zero_only(report.write)(folder)
    return report


def _settings(given: Mapping[str, Any]) -> OdometrySettings:
    chosen = {part.name: given[part.name] for part in fields(OdometrySettings)}
    for name in ("intrinsics", "static_list", "pose", "disp"):
        chosen[name] = None if given[name] is None else str(given[name])
    chosen["size"] = tuple(map(int, given["size"]))
    wanted = given["validation"]
    names = (wanted,) if isinstance(wanted, str) else tuple(wanted or ())
    chosen["validation"] = NO_VALIDATION if names == (NO_VALIDATION,) else names or None
    return OdometrySettings(**chosen)


def _machine(given: Mapping[str, Any]) -> Machine:
    return Machine(**{part.name: given[part.name] for part in fields(Machine) if part.name in given})


def _check_devices(trainer: Trainer) -> None:
    """Refuse more processes than there are processors."""
    most = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise OptionError(f"devices must be at most {most} on this CPU; given {trainer.num_devices}")


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


def _fit(
    module: Odometry, split: SplitDrives, machine: Machine, folder: Path, last: Path | None
) -> tuple[dict[str, Any], torch.device]:
    """Train, and return the best epoch and the device."""
    settings = module.settings
    data = TrainingData(
        split.train,
        split.validation,
        batch=settings.batch,
        seed=settings.seed,
        workers=machine.workers,
        steps=settings.epoch_size,
    )
    saving = OdometrySaving(folder, settings, split.facts)
    with quiet():
        trainer = build_trainer(
            machine,
            callbacks=[saving, Pictures((split.validation or split.train)[0])],
            max_epochs=settings.epochs,
            limit_val_batches=0 if split.validation is None else None,
        )
        trainer.fit(module.train(), datamodule=data, ckpt_path=last, weights_only=True)
        trainer.strategy.barrier()
    return saving.best, trainer.strategy.root_device
