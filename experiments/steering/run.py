"""Train a small steering network, test it on later frames, explain it by loss and by component, and erase cells."""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pilotnet import SIZE, Floats, PilotNet, train

from vidcam.attribution.scores import component
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import Window
from vidcam.explaining.explain import explain
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.windows import Fed
from vidcam.media import open_video, replacing
from vidcam.metrics.changes import loss_rise, score_change
from vidcam.metrics.correlation import loss_agreements
from vidcam.metrics.deletion_curve import deletion
from vidcam.metrics.deletion_report import ORDERS, DeletionReport
from vidcam.metrics.localization import heat_shares
from vidcam.models.model import Model
from vidcam.rendering import contact_sheet
from vidcam.rendering.chart import deletion_plot

HERE = Path(__file__).parent
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", HERE.parents[2] / "shared" / "data")) / "steering"
FULL_LOCK_DEGREES = 25.0  # assumed: the table's unit is full lock, -1 to 1
TRAIN, TEST = slice(0, 560), slice(580, 800)
PARTS = {"test": TEST, "test, road": slice(580, 700), "test, bridge": slice(705, 800)}
SMOOTHED = 13  # frames, about a second: the driver tapped keys, and the angle is zero between two taps
BLOCK = 14  # frames, a second: neighbors are drawn together for the intervals
DRAWN = range(590, 800, 27)
NETWORKS = {"whole picture": 0, "sky hidden": 28}  # rows of 66 that it cannot see; the horizon is at row 28
BANDS = {"sky": 68, "road": 140, "hood": 160}  # rows of the source where each band ends: roughly, on a flat track
SCORE = "degrees"


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    degrees = read_angles()
    frames = read_frames(len(degrees))
    started = time.perf_counter()
    runs = [Run(name, seed, frames, degrees, options) for name in NETWORKS for seed in options.seeds]
    result = {
        "data": describe(frames, degrees),
        "baselines": {part: baselines(degrees, where) for part, where in PARTS.items()},
        "networks": {
            name: {"mean_of_seeds": mean_errors(name, runs)}
            | {run.seed: run.result() for run in runs if run.network == name}
            for name in NETWORKS
        },
        "seconds": round(time.perf_counter() - started),
        "options": {name: value for name, value in vars(options).items() if name != "output"},
        "torch": torch.__version__,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    write_deletions(runs, options.output / "deletion.csv")
    for run in runs:
        if run.seed == options.seeds[0]:
            run.draw(options.output)
    shown = {name: network["mean_of_seeds"] for name, network in result["networks"].items()}
    json.dump({"baselines": result["baselines"], **shown}, sys.stdout, indent=1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--layer", default="conv3")
    parser.add_argument("--methods", nargs="+", default=["grad_cam", "hires_cam"])
    parser.add_argument("--every", type=int, default=2, help="erase in every so-manieth frame of the test part")
    return parser.parse_args()


def read_angles() -> Floats:
    """Return the steering angles in degrees, in the order of the pictures."""
    with (DATA / "driving.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"frames/{path.name}" for path in sorted((DATA / "frames").iterdir())]
    return np.array([float(row["steering"]) for row in rows]) * FULL_LOCK_DEGREES


def read_frames(count: int) -> torch.Tensor:
    """Return all frames as the network takes them, (F, 3, H, W)."""
    with open_video(DATA / "frames") as video:
        frames = torch.stack([preprocessing()(frame.pixels) for frame in video])
    assert len(frames) == count
    return frames


def preprocessing() -> Preprocessing:
    """Keep the whole frame, sky and hood as well: what the network makes of them is the question."""
    return Preprocessing(resize=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, antialias=True)


def smoothed(degrees: Floats) -> Floats:
    """Return the mean over about a second around each frame, over what there is at the ends."""
    kernel = np.ones(SMOOTHED)
    total, count = (np.convolve(values, kernel, "same") for values in (degrees, np.ones(len(degrees))))
    return total / count


def describe(frames: torch.Tensor, degrees: Floats) -> dict[str, Any]:
    """Tell how far the two parts differ, in labels and in pictures."""
    small = torch.nn.functional.avg_pool2d(frames, 8).flatten(1)
    nearest = torch.cdist(small, small[TRAIN]) / small.shape[1] ** 0.5
    apart = torch.arange(TRAIN.stop)
    nearest[TRAIN][(apart[:, None] - apart).abs() <= BLOCK] = torch.inf  # not a frame's own second
    return {
        "frames": len(degrees),
        "train": [TRAIN.start, TRAIN.stop],
        "test": [TEST.start, TEST.stop],
        "angles": {
            name: {
                "mean": round(float(degrees[where].mean()), 3),
                "deviation": round(float(degrees[where].std()), 3),
                "zero": round(float((degrees[where] == 0).mean()), 3),
                "lowest": round(float(degrees[where].min()), 2),
                "highest": round(float(degrees[where].max()), 2),
                "picture_distance_to_train": round(float(nearest[where].min(dim=1).values.mean()), 3),
            }
            for name, where in {"train": TRAIN, **PARTS}.items()
        },
    }


def errors(predicted: Floats, degrees: Floats) -> dict[str, float]:
    """RMSE and MAE in degrees."""
    off = predicted - degrees
    return {"rmse": round(float((off**2).mean() ** 0.5), 3), "mae": round(float(np.abs(off).mean()), 3)}


def baselines(degrees: Floats, where: slice) -> dict[str, dict[str, float]]:
    """What needs no picture; the last one needs the true angle of the frame before."""
    guesses = {"training mean": degrees[TRAIN].mean(), "training median": np.median(degrees[TRAIN])}
    before = degrees[where.start - 1 : where.stop - 1]
    found = {name: errors(np.full(len(before), guess), degrees[where]) for name, guess in guesses.items()}
    return found | {"angle of the frame before": errors(before, degrees[where])}


class Run:
    """One network and seed: train, test, explain, erase."""

    def __init__(
        self, network: str, seed: int, frames: torch.Tensor, degrees: Floats, options: argparse.Namespace
    ) -> None:
        self.network, self.seed, self.frames, self.degrees = network, seed, frames, degrees
        blind = NETWORKS[network]
        trained = train(frames[TRAIN], smoothed(degrees[TRAIN]), epochs=options.epochs, seed=seed, blind=blind)
        self.net, self.loss = trained.net, trained.loss
        self.model = model_of(self.net, options.layer)
        with torch.no_grad():
            self.predicted = self.net(frames[:, :, None])[:, 0].double().numpy()
        self.explanations = {
            method: explain(self.model, DATA / "frames", target=SCORE, truth=degrees, method=method)
            for method in options.methods
        }
        self.deletions = {
            (method, what): self.erase(explained, options.every)
            for method, explanation in self.explanations.items()
            for what, explained in views(explanation).items()
        }
        print(f"{network}, seed {seed}: {self.errors['test']}", file=sys.stderr, flush=True)

    @property
    def errors(self) -> dict[str, dict[str, float]]:
        """Errors, and the correlation with the truth, per part."""
        return {
            part: errors(self.predicted[where], self.degrees[where])
            | {"correlation": round(float(np.corrcoef(self.predicted[where], self.degrees[where])[0, 1]), 3)}
            | {"mean": round(float(self.predicted[where].mean()), 3)}
            | {"deviation": round(float(self.predicted[where].std()), 3)}
            for part, where in {"train": TRAIN, **PARTS}.items()
        }

    def erase(self, explanation: Explanation, every: int) -> DeletionReport:
        """Erase in the test part."""
        indices = range(*TEST.indices(len(self.frames)))
        windows: Iterator[Window[Fed]] = (Window(i, (Fed(i, self.frames[i]),)) for i in indices)
        measures = {"degrees": score_change(component(0)), "half_square_degrees_of_loss": loss_rise(self.degrees)}
        return deletion(self.model, windows, explanation, measures=measures, every=every, block=max(1, BLOCK // every))

    def result(self) -> dict[str, Any]:
        return {
            "training_loss": round(self.loss, 3),
            "errors": self.errors,
            "agreement": {
                method: [pair._asdict() for pair in loss_agreements(cut(explanation), block=BLOCK)]
                for method, explanation in self.explanations.items()
            },
            "bands": {
                f"{method}, {what}": bands(cut(explained))
                for method, explanation in self.explanations.items()
                for what, explained in views(explanation).items()
            },
            "vanishing": {
                method: {label: int(explanation.vanishing[k][TEST].sum()) for k, label in enumerate(explanation.labels)}
                for method, explanation in self.explanations.items()
            },
        }

    def draw(self, folder: Path) -> None:
        """Draw frames of the test part at even distances, and the deletion curves, by the last method."""
        method, explanation = list(self.explanations.items())[-1]
        for name in ("steering", "loss"):
            path = folder / f"{name}_{self.network.replace(' ', '_')}.jpg"
            contact_sheet(only(views(explanation)[name], DRAWN), path, k=len(DRAWN), force=True)
        path = folder / f"deletion_{self.network.replace(' ', '_')}.png"
        deletion_plot(self.deletions[method, "steering"], path, force=True)


def model_of(net: PilotNet, layer: str) -> Model:
    """Describe the network: one frame per window, answers in degrees."""
    scores = {SCORE: component(0)}
    return Model(net, layer=layer, layout="b c h w", frames=1, preprocessing=preprocessing(), scores=scores)


def views(explanation: Explanation) -> dict[str, Explanation]:
    """Return what is erased by: the size of the component's map, and the loss's heat."""
    return {"steering": explanation.of(SCORE, signed=True), "loss": explanation.of("loss", signed=False)}


def bands(explanation: Explanation) -> dict[str, Any]:
    """Return how dense the heat, of either sign, is in each band of the picture."""
    classes = np.digitize(np.arange(explanation.height), list(BANDS.values()))
    everywhere = np.broadcast_to(classes[:, None], (len(explanation.heat), explanation.height, explanation.width))
    report = heat_shares(explanation.with_heat(np.abs(explanation.heat)), everywhere, list(BANDS), block=BLOCK)
    return {
        region.name: {
            name: round(float(getattr(region, name) or 0), 3) for name in ("area_share", "heat_share", "density")
        }
        for region in report.regions
    }


def mean_errors(network: str, runs: list["Run"]) -> dict[str, dict[str, float]]:
    """Average the errors over the seeds."""
    own = [run.errors for run in runs if run.network == network]
    return {
        part: {name: round(float(np.mean([errors[part][name] for errors in own])), 3) for name in own[0][part]}
        for part in own[0]
    }


def cut(explanation: Explanation) -> Explanation:
    """Keep the maps of the test part alone."""
    parts = {name: getattr(explanation, name)[:, TEST] for name in ("maps", "gradients", "vanishing")}
    return replace(explanation, outputs=explanation.outputs[TEST], **parts)


def only(explanation: Explanation, frames: range) -> Explanation:
    """Take the heat from all other frames, so that these are drawn."""
    heat = np.zeros_like(explanation.heat)
    heat[frames] = explanation.heat[frames]
    return explanation.with_heat(heat)


def write_deletions(runs: list[Run], path: Path) -> None:
    """Write a row per network, seed, method, explained score, measure, order and share."""
    facts = ("network", "seed", "method", "explained", "measure", "order", "cells", "erased", "windows", "flat")
    with replacing(path, force=True) as part, part.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((*facts, "mean", "low", "high", "hottest_minus", "minus_low", "minus_high"))
        for run in runs:
            for (method, what), report in run.deletions.items():
                rows.writerows((run.network, run.seed, method, what, *row) for row in table(report))


def table(report: DeletionReport) -> Iterator[tuple[Any, ...]]:
    """Yield a row per measure, order and share."""
    cells = report.cells[0] * report.cells[1]
    for measure in report.measures:
        for order in ORDERS:
            means, rest = report.mean(measure, order).T, report.difference(measure, order).T
            for n, mean, less in zip(report.erased, means, rest, strict=True):
                numbers = (f"{value:.4f}" for value in (*mean, *less))
                yield (measure, order, cells, n, len(report.starts), report.flat, *numbers)


if __name__ == "__main__":
    main()
