"""Training: one step per network, two epochs of a small classifier, and two minutes of odometry."""

import math
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench import Bench, Case, Line, attempt, free
from material import motion, network, subject
from timing import clock, now, peak, spread
from torch import Tensor, nn

import vidcam
from vidcam.attribution.scores import logits
from vidcam.data.manifest import Row, write_manifest
from vidcam.data.synthetic import MOTIONS, build_world, write_drives
from vidcam.odometry.training.module import Odometry
from vidcam.odometry.training.networks import starting_networks
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.train import train_odometry
from vidcam.training.classifier.train import train

NETWORKS = (("r2plus1d_18", 8), ("mvit_v2_s", 4), ("swin3d_t", 4), ("cnn_lstm_attention", 8), ("s3d", 2))
QUICK: tuple[tuple[str, int, dict[str, Any]], ...] = (("r2plus1d_18", 2, {"frames": 8, "size": 32}),)
RUNS = (("32-true", 0), ("32-true", 8), ("32-true", 8), ("16-mixed", 8), ("bf16-mixed", 8))
ODOMETRY_SECONDS = 120
TRAINING_DRIVES, FRAMES = 6, 40


def cases(bench: Bench) -> list[Case]:
    networks = QUICK if bench.quick else tuple((name, batch, {}) for name, batch in NETWORKS)
    steps = [_classifier_steps(bench, name, batch, how) for name, batch, how in networks]
    return [*steps, _odometry_steps(bench), _classifier(bench), _odometry(bench)]


def _classifier_steps(bench: Bench, name: str, batch: int, how: dict[str, Any]) -> Case:
    about = subject(network(name, bench.device, **how), batch)
    classes = torch.arange(batch, device=about.model.device)

    def loss() -> Tensor:
        return nn.functional.cross_entropy(logits(about.model.net(about.x)).float(), classes)

    for low in (False, True) if bench.cuda else (False,):
        yield {"what": "step", "model": name, "batch": batch, "bf16": low, **_steps(bench, about.model.net, loss, low)}


def _odometry_steps(bench: Bench) -> Case:
    size, batch = ((64, 208), 1) if bench.quick else ((128, 416), 4)
    settings = OdometrySettings(size=size)
    module = Odometry(starting_networks(settings), settings).to(bench.device)
    intrinsics = torch.tensor([[0.58 * size[1], 0, size[1] / 2], [0, 1.9 * size[0], size[0] / 2], [0, 0, 1]])
    shape = subject(network("sfmlearner", "cpu", size=size), 1).x.shape[1:]
    given = {"clip": torch.rand(batch, *shape), "intrinsics": intrinsics.repeat(batch, 1, 1)}
    given = {name: tensor.to(bench.device) for name, tensor in given.items()}
    told = _steps(bench, module, lambda: module.losses(given).total.mean(), low=False)
    yield {"what": "step", "model": "sfmlearner", "batch": batch, "bf16": False, **told}


def _steps(bench: Bench, net: nn.Module, loss: Any, low: bool) -> Line:
    """Take steps on the same batch: their time and memory, and what they did to the loss."""
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5)
    kind = bench.device.partition(":")[0]
    values: list[Tensor] = []

    def step() -> None:
        precision: AbstractContextManager[Any] = torch.autocast(kind, torch.bfloat16) if low else nullcontext()
        with precision:
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        values.append(value.detach())

    def measured() -> Line:
        taken = [clock(bench, step) for _ in range(4 if bench.quick else 12)][2:]
        losses = {"first_loss": _number(values[0]), "last_loss": _number(values[-1])}
        return {**spread(taken), **losses, **peak(bench, step)}

    return attempt(measured)


def _number(value: Tensor) -> float | str:
    told = float(value)
    return round(told, 4) if math.isfinite(told) else str(told)


def _classifier(bench: Bench) -> Case:
    """Train the small R(2+1)D on made motions; two runs of the same settings must end with the same weights."""
    folder = bench.folder()
    manifest, cut = _motions(bench, folder), {"options": {"frames": 4, "size": 32}} if bench.quick else {}
    for number, (precision, workers) in enumerate(RUNS[: 1 if bench.quick else None]):
        how = {"precision": precision, "workers": workers, "accelerator": "gpu" if bench.cuda else "cpu"}
        run = partial(_train, manifest, folder / str(number), epochs=1 if bench.quick else 2, **how, **cut)
        yield {"what": "classifier", "precision": precision, "workers": workers, **attempt(partial(_timed, bench, run))}
        free(bench)


def _timed(bench: Bench, run: Any) -> Line:
    start = now(bench)
    told = run()
    return {"seconds": round(now(bench) - start, 1), **told}


def _train(manifest: Path, output: Path, **how: Any) -> Line:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, about few batches
        report = train(manifest, model="r2plus1d_mini", output=output, logger="csv", progress=False, devices=1, **how)
        digest = vidcam.load_model(None, checkpoint=output / "checkpoint.safetensors").digest
    return {"top1": round(report.per_video.top1, 3), "loss": round(report.per_video.loss, 4), "weights": digest[:12]}


def _motions(bench: Bench, folder: Path) -> Path:
    count = 8 if bench.quick else 96
    labels = [index % len(MOTIONS) for index in range(count)]
    paths = [motion(folder, seed, label=label, frames=16 if bench.quick else 64) for seed, label in enumerate(labels)]
    splits = ["train" if index < 0.75 * count else "val" for index in range(count)]
    rows = [Row(path, MOTIONS[label], split) for path, label, split in zip(paths, labels, splits, strict=True)]
    write_manifest(rows, folder / "manifest.csv")
    return folder / "manifest.csv"


def _odometry(bench: Bench) -> Case:
    """Train on made drives for two minutes, or what is left of them: some epochs, then twice as many, and so on."""
    root = bench.folder()
    drives = _drives(bench, root)
    end = bench.seconds + min(ODOMETRY_SECONDS, bench.left - 10)
    how: dict[str, Any] = {"size": (64, 208), "validation": [drives[-1].name], "workers": 0 if bench.quick else 4}
    how |= {"logger": "none", "progress": False, "accelerator": "gpu" if bench.cuda else "cpu", "devices": 1}
    epochs, more = 0, 1
    while more:
        epochs += more
        run = partial(_fit, drives, output=root / "trained", resume=True, epochs=epochs, **how)
        told = attempt(partial(_timed, bench, run))
        yield {"what": "odometry", "epochs": epochs, "of_these_new": more, **told}
        fits = 0.9 * (end - bench.seconds) / told.get("seconds", math.inf)
        more = 0 if bench.quick else int(more * max(0, min(2, fits)))


def _fit(drives: list[Path], **how: Any) -> Line:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = train_odometry(drives, **how)
    first, last = report.history[0], report.history[-1]
    losses = {f"{part}_photometric": round(row["photometric"], 4) for part, row in (("first", first), ("last", last))}
    return {**losses, "best_epoch": report.best["epoch"], **_ate(report.odometry)}


def _ate(odometry: Sequence[Mapping[str, Any]]) -> Line:
    """Return the mean error of snippets of three frames, of the network and of the baselines, which see no picture."""
    for row in odometry:
        rivals = {name: errors["ate_3_mean"] for name, errors in row["baselines"].items()}
        means = {"network": row["ate_3_mean"], **rivals}
        return {f"ate_3_{name}_m": round(mean, 4) for name, mean in means.items()}
    return {}


def _drives(bench: Bench, root: Path) -> list[Path]:
    """Make drives, some of them at a time."""
    seeds = range(100, 102 if bench.quick else 101 + TRAINING_DRIVES)
    frames, size = (8, (64, 208)) if bench.quick else (FRAMES, (128, 416))
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(partial(_drive, root, frames, size), seeds))


def _drive(root: Path, frames: int, size: tuple[int, int], seed: int) -> Path:
    world = build_world(seed, frames=frames, size=size, vehicles=1, fold=1)
    return write_drives(root, {f"drive_{seed}": world})[0]
