"""Compare a trained network's poses with the true ones on drives that no choice was made on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from drives import true_path
from networks import load, mirrored, stages

from vidcam.data.drives.drive import open_drive
from vidcam.data.drives.trajectory import Trajectory
from vidcam.metrics.bootstrap import draw, mean_with_interval
from vidcam.models.model import Model
from vidcam.odometry.alignment import align
from vidcam.odometry.baselines import baseline_paths, snippets
from vidcam.odometry.errors import OdometryReport, evaluate, snippet_errors
from vidcam.odometry.plots import trajectory_plot
from vidcam.odometry.prediction import predict
from vidcam.training.report import draw_losses
from vidcam.training.run import LAST

BLOCK = 10  # frames, a second: neighbors are drawn together for the intervals


def measure(network: str, parts: dict[str, list[Path]], work: Path, output: Path) -> dict[str, Any]:
    """Evaluate the trained network, and an untrained one, on the test drives."""
    history = read_history(network, work)
    best = min(history, key=lambda row: row["validation_photometric"])
    draw_losses(history, ("photometric", "smoothness"), int(best["epoch"]), output / f"curves_{network}.png")
    learned = [true_path(open_drive(path)) for path in parts["train"]]
    found: dict[str, Any] = {"history": history, "best": best}
    trained = load(network, work)
    for name, model in {"trained": trained, "mirrored": mirrored(trained), "untrained": load(None, work)}.items():
        rows = {path.name: compare(model, path, learned) for path in parts["test"]}
        if name == "trained":
            write(network, rows, learned, parts, output)
        found[name] = {"drives": {drive: row["facts"] for drive, row in rows.items()}, "mean": means(rows)}
    return found


def read_history(network: str, work: Path) -> list[dict[str, float]]:
    """Return the losses of every epoch of all stages, counted through."""
    history: list[dict[str, float]] = []
    for stage in stages(network, work):
        saved = torch.load(stage / LAST, map_location="cpu", mmap=True, weights_only=True)
        steps = history[-1]["steps"] if history else 0
        rows = saved["history"]["epochs"]
        history += [row | {"epoch": len(history) + i, "steps": steps + row["steps"]} for i, row in enumerate(rows)]
    return history


def compare(model: Model, path: Path, learned: list[Trajectory]) -> dict[str, Any]:
    drive = open_drive(path)
    said, true = predict(model, drive), true_path(drive)
    report = evaluate(said.trajectory, true, training=learned)
    own = snippet_errors(said.snippets, snippets(true, model.frames)).summary(model.frames)
    return {"report": report, "said": said.trajectory, "true": true, "facts": report.as_dict() | {"own_snippets": own}}


def means(rows: dict[str, Any]) -> dict[str, Any]:
    """Average over all snippets of the drives, and compare with each baseline snippet by snippet."""
    reports: list[OdometryReport] = [row["report"] for row in rows.values()]
    ate, re = (np.concatenate([getattr(report.errors, kind) for report in reports]) for kind in ("ate", "re"))
    drawn = draw(len(ate), resamples=1000, seed=0, block=BLOCK)
    found: dict[str, Any] = {"ate_5": interval(ate, drawn), "re_5": interval(re, drawn), "baselines": {}}
    for name in reports[0].baselines:
        others = [np.concatenate([getattr(r.baselines[name], kind) for r in reports]) for kind in ("ate", "re")]
        known = np.isfinite(others[0])
        among = draw(int(known.sum()), resamples=1000, seed=0, block=BLOCK)
        found["baselines"][name] = {
            "ate_5": float(others[0][known].mean()),
            "re_5": float(others[1][known].mean()),
            "ate_5_network_minus": interval((ate - others[0])[known], among),
            "re_5_network_minus": interval((re - others[1])[known], among),
        }
    return found


def interval(values: np.ndarray, drawn: np.ndarray) -> list[float]:
    """Return the mean, and the ends of its 95 % interval."""
    return np.ravel(mean_with_interval(values, drawn)).tolist()


def write(
    network: str, rows: dict[str, Any], learned: list[Trajectory], parts: dict[str, list[Path]], output: Path
) -> None:
    """Write the snippets' errors and the pictures of the paths."""
    for path in parts["test"]:
        row, name = rows[path.name], path.name if network == "synthetic" else f"real_{path.name}"
        row["report"].write_csv(output / f"snippets_{name}.csv", force=True)
        others = {"predicted": align(row["said"], row["true"], "7dof")}
        others |= baseline_paths(row["true"], training=learned)
        trajectory_plot(row["true"], others, output / f"path_{name}.png", title=name, force=True)
