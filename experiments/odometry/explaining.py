"""Explain a trained pose network on test drives, and measure its maps against what the scene and the task know."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drives import true_path
from networks import load

import vidcam
from vidcam.data.drives.drive import Drive, open_drive
from vidcam.data.synthetic import CLASSES, read_truth
from vidcam.explaining.explanation import Explanation
from vidcam.media import open_video, replacing
from vidcam.metrics.changes import Change, pose_changes
from vidcam.metrics.correlation import map_agreement
from vidcam.metrics.deletion_curve import deletion
from vidcam.metrics.deletion_report import ORDERS, DeletionReport
from vidcam.metrics.localization import heat_shares
from vidcam.models.model import Model
from vidcam.models.sfmlearner.geometry import pose_matrix
from vidcam.odometry.alignment import best_scale
from vidcam.odometry.prediction import predict
from vidcam.rendering import contact_sheet, render, render_drive
from vidcam.rendering.chart import deletion_plot

LAYERS = ("pose.conv5", "pose.conv4")
ERASED_BY, ERASED_AT = ("loss", "tz", "ry"), "pose.conv4"
BLOCK = 10  # frames, a second: neighbors are drawn together for the intervals
CONTROLS = 1  # untrained networks, each of another seed


def explain(network: str, drives: list[Path], work: Path, output: Path, *, every: int) -> dict[str, Any]:
    """Explain the test drives at two layers; the regions are known in the synthetic world alone."""
    trained, opened = load(network, work), [open_drive(path) for path in drives]
    found: dict[str, Any] = {"layers": {}, "untrained": {}}
    for layer in LAYERS:
        maps = [vidcam.explain(trained, drive, layer=layer) for drive in opened]
        found["layers"][layer] = describe(maps, opened)
        if layer == ERASED_AT:
            found["deletion"] = erase(network, maps, opened, work, output, every=every)
            draw(network, maps[0], output)
    if opened[0].truth is not None:
        controls = {seed: load(None, work, seed=seed) for seed in range(CONTROLS)}
        found["untrained"] = {
            seed: {"regions": regions([vidcam.explain(model, d, layer=ERASED_AT) for d in opened], opened)}
            for seed, model in controls.items()
        }
    return found


def describe(maps: list[Explanation], drives: list[Drive]) -> dict[str, Any]:
    """Tell where the heat lies, how the maps agree, and where they vanish."""
    joined = join(maps)
    known = drives[0].truth is not None
    return {
        "cells": list(joined.heat.shape[1:]),
        "vanishing": dict(zip(joined.labels, joined.vanishing.sum(axis=1).tolist(), strict=True)),
        "frames": len(joined.heat),
        "agreement": [
            map_agreement(sized(joined, "loss").heat, sized(joined, score).heat, name=score, block=BLOCK)._asdict()
            for score in joined.labels[1:]
        ],
        **({"regions": regions(maps, drives)} if known else {}),
    }


def join(maps: list[Explanation]) -> Explanation:
    """Put the frames of several drives one after the other."""
    first = maps[0]
    parts = {name: np.concatenate([getattr(m, name) for m in maps], axis=1) for name in ("maps", "vanishing")}
    return replace(first, **parts)


def sized(explanation: Explanation, score: str) -> Explanation:
    """Return the loss's heat, or the size of a component's map."""
    if score == "loss":
        return explanation.of(score, signed=False)
    signed = explanation.of(score, signed=True)
    return replace(signed.with_heat(np.abs(signed.heat)), signed=False)


def regions(maps: list[Explanation], drives: list[Drive]) -> dict[str, Any]:
    """Return how dense each score's heat is on sky, road, static structure and moving vehicles."""
    classes = np.concatenate([true_classes(drive) for drive in drives])
    joined = join(maps)
    return {s: heat_shares(sized(joined, s), classes, CLASSES, block=BLOCK).as_dict() for s in joined.labels}


def true_classes(drive: Drive) -> np.ndarray:
    """Return (F, H, W) indices into `CLASSES`."""
    assert drive.truth is not None
    return np.stack([read_truth(drive.truth, frame)[1] for frame in range(drive.frames)])


def erase(
    network: str, maps: list[Explanation], drives: list[Drive], work: Path, output: Path, *, every: int
) -> dict[str, Any]:
    """Erase cells in the orders of several maps; the pose network alone runs."""
    model = load(network, work, depth=False)
    reports = {}
    for score in ERASED_BY:
        own = [
            deletion(model, d.source, sized(m, score), measures=measures(model, d), every=every, block=BLOCK // every)
            for m, d in zip(maps, drives, strict=True)
        ]
        reports[score] = together(own)
    write_table(reports, output / f"deletion_{network}.csv")
    deletion_plot(reports["loss"], output / f"deletion_{network}.png", force=True)
    return {score: report.as_dict() for score, report in reports.items()}


def measures(model: Model, drive: Drive) -> dict[str, Change]:
    """Measure metres, by the one scale that fits the network's unit to the drive, and degrees."""
    true, said = true_path(drive), predict(model, drive).trajectory
    scale = abs(float(best_scale(said.steps[:, :3, 3], true.steps[:, :3, 3])))
    changes = pose_changes(lambda output: pose_matrix(output.pose))
    return {
        "metres": times(scale, changes["translation"]),
        "degrees": times(180 / np.pi, changes["rotation_radians"]),
    }


def times(factor: float, change: Change) -> Change:
    def scaled(output: Any, frames: tuple[int, ...]) -> torch.Tensor:
        return factor * change(output, frames)

    return scaled


def together(reports: list[DeletionReport]) -> DeletionReport:
    """Join the windows of several drives."""
    first = reports[0]
    changes = {
        measure: {order: np.concatenate([r.changes[measure][order] for r in reports]) for order in ORDERS}
        for measure in first.measures
    }
    starts = tuple(start for report in reports for start in report.starts)
    return replace(first, changes=changes, starts=starts, flat=sum(report.flat for report in reports))


def write_table(reports: dict[str, DeletionReport], path: Path) -> None:
    """Write a row per map, measure, order and share."""
    with replacing(path, force=True) as part, part.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        columns = ("mean", "low", "high", "hottest_minus", "minus_low", "minus_high")
        rows.writerow(("map", "measure", "order", "share", "erased", "cells", *columns))
        for score, report in reports.items():
            rows.writerows((score, *row) for row in table(report))


def table(report: DeletionReport) -> Iterator[tuple[Any, ...]]:
    """Yield a row per measure, order and share."""
    cells = report.cells[0] * report.cells[1]
    for measure in report.measures:
        for order in ORDERS:
            both = np.concatenate(
                [report.mean(measure, order), report.difference(measure, order="hottest", other=order)]
            )
            for share, n, values in zip(report.fractions, report.erased, both.T, strict=True):
                yield (measure, order, share, n, cells, *(f"{value:.6f}" for value in values))


def draw(network: str, explanation: Explanation, output: Path) -> None:
    """Draw some frames with the heat of the loss, and the size of the turn's map."""
    for score in ("loss", "ry"):
        path = output / f"sheet_{network}_{score}.jpg"
        contact_sheet(sized(explanation, score), path, k=4, apart_seconds=0.3, force=True)


def film(network: str, sources: dict[str, Path], work: Path, output: Path) -> dict[str, Any]:
    """Write the videos of whole sequences, and check that no frame is lost and the size is the source's."""
    model, facts = load(network, work), {}
    for name, source in sources.items():
        drive = open_drive(source)
        explanation = explain(model, drive, layer=ERASED_AT)
        paths = {kind: work / "videos" / f"{name}_{kind}.mp4" for kind in ("overlay", "drive")}
        paths["overlay"].parent.mkdir(exist_ok=True)
        notes = (
            *render(explanation, paths["overlay"], force=True),
            *render_drive(explanation, paths["drive"], force=True),
        )
        facts[name] = {
            "source": [drive.frames, drive.width, drive.height],
            "maps": list(explanation.heat.shape),
            "vanishing": int(explanation.is_vanishing.sum()),
            **{kind: written(path) for kind, path in paths.items()},
            "notes": [*explanation.notes, *notes],
        }
        contact_sheet(explanation, work / "videos" / f"{name}.png", k=6, apart_seconds=0.2, force=True)
    return facts


def written(path: Path) -> list[int]:
    """Return frames, width and height of a video, counted by decoding it."""
    with open_video(path) as video:
        return [sum(1 for _ in video), video.info.width, video.info.height]
