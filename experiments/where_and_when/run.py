"""Measure where and when heat lands on clips whose truth is known, for every placement and every `when`."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scoring import (
    DEEP,
    GRAD_CAM,
    LAYERS,
    MOMENTS,
    SPACE,
    Evidence,
    Floats,
    Geometry,
    Profile,
    Truth,
    explain,
    geometry,
    in_space,
    in_time,
    interval,
    measure,
    one_thread,
    profile,
    summary,
)
from torch import Tensor

from vidcam.attribution.capturing import capture
from vidcam.attribution.formulas import frame_contribution
from vidcam.attribution.methods import cam
from vidcam.attribution.scores import class_score
from vidcam.data.preprocessing import View
from vidcam.data.synthetic import MOTIONS, SyntheticClip, motion_clip
from vidcam.models.build import load_model
from vidcam.models.model import Model

HERE = Path(__file__).parent
FRESH, CALIBRATION = 3 * 10**9, 4 * 10**9  # seeds that no training and no other evaluation draws
HEADINGS = ((0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (1.0, 0.0))  # down and across, in the order of MOTIONS
TIME = SPACE
CAMS = (GRAD_CAM, "hires_cam")
Row = dict[str, Any]


def main() -> None:
    options = parse()
    one_thread()
    model = load_model("demo", checkpoint=options.weights)
    cases = [Case.make(model, FRESH + i, i % len(MOTIONS)) for i in range(options.clips)]
    where = geometry(model.net, [Case.feed(model, clip(CALIBRATION + i, i % 4)) for i in range(8)], LAYERS[1:])
    tables = Tables(cases, where)
    results = {
        "clips": options.clips,
        "accuracy": float(np.mean([case.right for case in cases])),
        "uniform": summary([case.uniform() for case in cases]),
        "geometry": {name: describe(found) for name, found in where.items()},
        "placements": tables.placements(),
        "when": tables.moments(),
        "shallower": tables.shallower(),
        "differences": tables.differences(),
        "calibration": calibration(cases, where[DEEP]),
        "cost": costs(model, cases[0].x, options.rounds),
        "setting": setting(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / f"{options.name}.json", results)


class Case:
    """A fresh clip, its truth, and what the network's layers say of it."""

    def __init__(self, x: Tensor, evidence: Evidence, truth: Truth, view: View, label: int) -> None:
        self.x, self.evidence, self.truth, self.view = x, evidence, truth, view
        self.right = int(evidence.output.argmax()) == label

    @classmethod
    def make(cls, model: Model, seed: int, label: int) -> "Case":
        drawn = clip(seed, label)
        x = cls.feed(model, drawn)
        view = model.preprocessing.view(*drawn.pixels.shape[1:3])
        return cls(x, explain(model.net, x, class_score(label), cams=CAMS), truth(drawn), view, label)

    @staticmethod
    def feed(model: Model, drawn: SyntheticClip) -> Tensor:
        """Take every second frame, as the network's 15 frames per second ask for."""
        return model.batch([[model.preprocessing(frame) for frame in drawn.pixels[::2]]])

    def uniform(self) -> dict[str, float]:
        """Give the shares that heat spread evenly would have."""
        area = self.truth.mask.mean(axis=(1, 2))
        return {
            "share_active": float(self.truth.active.mean()),
            "share_boxes": float(area.mean()),
            "share_boxes_when_active": float(area[self.truth.active].mean()),
        }


def clip(seed: int, label: int) -> SyntheticClip:
    return motion_clip(seed, label=label)


def truth(drawn: SyntheticClip) -> Truth:
    """Sample boxes as the frames are, and fill them."""
    height, width = drawn.pixels.shape[1:3]
    active, boxes = drawn.active[::2], drawn.boxes[::2]
    mask = np.zeros((len(active), height, width), bool)
    for f in np.flatnonzero(active):
        left, top, right, bottom = boxes[f].astype(int)
        mask[f, top:bottom, left:right] = True
    return Truth(mask, active, HEADINGS[drawn.label])


class Tables:
    """Every combination, measured on every clip once."""

    def __init__(self, cases: list[Case], where: dict[str, Geometry]) -> None:
        self.cases, self.where = cases, where
        self.profiles = {(t, s): self._profiles(DEEP, t, s) for t in TIME for s in SPACE}
        self.measured: dict[tuple[str, str, str | None, bool], list[dict[str, float]]] = {}
        for t, s in self.profiles:
            self._measure(t, s, None, True)
        for t, layer, subtract in ((t, m, b) for t in TIME for m in MOMENTS for b in (True, False)):
            self._measure(t, "linear", layer, subtract)

    def placements(self) -> list[Row]:
        return [self._row(t, s, None, True) for t, s in self.profiles]

    def moments(self) -> list[Row]:
        rows = [(t, None, True) for t in TIME]
        rows += [(t, m, b) for t in TIME for m in reversed(MOMENTS) for b in (True, False)]
        return [self._row(t, "linear", m, b) for t, m, b in rows]

    def shallower(self) -> list[Row]:
        """One layer for where, alone and with another for when: does a finer layer do better?"""
        choices = [(DEEP, GRAD_CAM), *((layer, cam) for layer in ("layer3", "layer2", "layer1") for cam in CAMS)]
        return [self._shallow(*c, s, m) for c in choices for s in ("linear", "centers") for m in (None, "layer3")]

    def _shallow(self, layer: str, cam: str, space: str, when: str | None) -> Row:
        found = []
        for case, part in zip(self.cases, self._profiles(layer, "linear", space, cam), strict=True):
            found.append(measure(part, self._weights(case, "linear", when, True), case.truth, case.view))
        grid = list(self.cases[0].evidence.heat[layer, cam].shape)
        return {"layer": layer, "cam": cam, "grid": grid, "space": space, "when": when, **summary(found)}

    def differences(self) -> dict[str, dict[str, list[float]]]:
        """Compare pairs on the same clips: first minus second."""
        b, l3 = "linear", "layer3"
        pairs: dict[str, tuple[Any, Any]] = {}
        for s in SPACE:
            if s != "linear":
                pairs[f"space {s} - linear"] = ("linear", s, None, True), ("linear", "linear", None, True)
        for t in TIME:
            if t != "linear":
                pairs[f"time {t} - linear"] = (t, b, None, True), ("linear", b, None, True)
                pairs[f"time {t} - linear, when layer3"] = (t, b, l3, True), ("linear", b, l3, True)
        for m in MOMENTS:
            pairs[f"when {m}, mean subtracted - not"] = ("linear", b, m, True), ("linear", b, m, False)
            if m != l3:
                pairs[f"when {m} - layer3"] = ("linear", b, m, True), ("linear", b, l3, True)
        return {name: self._difference(*pair) for name, pair in pairs.items()}

    def _difference(self, one: Any, other: Any) -> dict[str, list[float]]:
        rows, others = self.measured[one], self.measured[other]
        names = [name for name in rows[0] if name != "heat"]
        gaps = {n: [a.get(n, np.nan) - b.get(n, np.nan) for a, b in zip(rows, others, strict=True)] for n in names}
        return {name: interval(values) for name, values in gaps.items()}

    def _profiles(self, layer: str, time_kind: str, space_kind: str, cam: str = GRAD_CAM) -> list[Profile]:
        slots, h, w = self.cases[0].evidence.heat[layer, cam].shape
        frames = len(self.cases[0].truth.active)
        lay = in_time(self.where[layer], time_kind, slots, frames)
        spread = in_space(self.where[layer], space_kind, (h, w), self.cases[0].view)
        laid = [np.einsum("Tt,thw->Thw", lay, case.evidence.heat[layer, cam]) for case in self.cases]
        return [profile(heat, spread, case.truth) for heat, case in zip(laid, self.cases, strict=True)]

    def _measure(self, t: str, s: str, layer: str | None, subtract: bool) -> None:
        pairs = zip(self.cases, self.profiles[t, s], strict=True)
        self.measured[t, s, layer, subtract] = [
            measure(part, self._weights(case, t, layer, subtract), case.truth, case.view) for case, part in pairs
        ]

    def _weights(self, case: Case, kind: str, layer: str | None, subtract: bool) -> Floats | float:
        """Lay on frames what an earlier layer says; without one, every frame counts alike."""
        if layer is None:
            return 1.0
        moments, axes = case.evidence.moments[layer, subtract], self.where[layer].axes
        # effective centers are for the deep layer alone, as in `vidcam.explain`
        return in_time(Geometry(axes, ()), kind, len(moments), len(case.truth.active)) @ moments

    def _row(self, t: str, s: str, layer: str | None, subtract: bool) -> Row:
        facts = {"time": t, "space": s, "when": layer, "mean_subtracted": subtract if layer else None}
        return facts | summary(self.measured[t, s, layer, subtract])


def calibration(cases: list[Case], where: Geometry) -> dict[str, Any]:
    """Where the object is, and when the event is, while a given cell or slot is the hottest."""
    columns: dict[int, list[float]] = {}
    rows: dict[int, list[float]] = {}
    slots: dict[int, list[float]] = {}
    for case in cases:
        heat, frames = case.evidence.heat[DEEP, GRAD_CAM], len(case.truth.active)
        strongest = int(heat.sum(axis=(1, 2)).argmax())
        slots.setdefault(strongest, []).append(float(np.flatnonzero(case.truth.active).mean()))
        laid = np.einsum("Tt,thw->Thw", in_time(where, "linear", len(heat), frames), heat)
        for f in np.flatnonzero(case.truth.active & (laid.sum(axis=(1, 2)) > 0)):
            row, column = np.unravel_index(int(laid[f].argmax()), laid[f].shape)
            y, x = (case.truth.centers[f] + 0.5) / case.view.scale - 0.5
            rows.setdefault(int(row), []).append(float(y))
            columns.setdefault(int(column), []).append(float(x))
    size = cases[0].view.size
    found = zip((slots, rows, columns), (len(cases[0].truth.active), *size), strict=True)
    return {
        name: curve(where, axis, values, cases[0].evidence.heat[DEEP, GRAD_CAM].shape[axis], length)
        for axis, (name, (values, length)) in enumerate(zip(("time", "down", "across"), found, strict=True))
    }


def curve(where: Geometry, axis: int, values: dict[int, list[float]], slots: int, length: int) -> dict[str, Any]:
    """Put what was found per slot beside what the placements say; the error ised by how often a slot was hottest."""
    counts = np.array([len(values.get(i, [])) for i in range(slots)])
    medians = np.array([np.median(values[i]) if i in values else np.nan for i in range(slots)])
    said = {kind: where.positions(kind, axis, slots, length)[0] for kind in SPACE if kind != "nearest"}
    share = counts / counts.sum()
    return {
        "count": counts.tolist(),
        "median_position": [None if np.isnan(m) else round(float(m), 2) for m in medians],
        "placements": {kind: np.round(p, 2).tolist() for kind, p in said.items()},
        "bias": {kind: round(float(np.nansum(share * (p - medians))), 2) for kind, p in said.items()},
        "rms": {kind: round(float(np.sqrt(np.nansum(share * (p - medians) ** 2))), 2) for kind, p in said.items()},
    }


def costs(model: Model, x: Tensor, rounds: int) -> dict[str, dict[str, float]]:
    """Time Grad-CAM with every `when` beside the plain forward, in turns; ratios are of neighbors."""
    net = model.net

    def plain() -> None:
        with torch.no_grad():
            net(x)

    def with_moments(layer: str) -> Callable[[], None]:
        def call() -> None:
            found = capture(net, x, layers=[layer, DEEP], scores=[class_score(0)])
            frame_contribution(found.activations[layer], found.gradients[0][layer])

        return call

    calls: dict[str, Callable[[], Any]] = {"plain": plain, "none": lambda: cam(net, x, layer=DEEP, target=0)}
    calls |= {layer: with_moments(layer) for layer in reversed(MOMENTS)}
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.process_time()  # not the clock on the wall: other processes wait for the same cores
            call()
            if number:  # the first round warms up
                spent[name].append(time.process_time() - start)
    return {name: ratio(seconds, spent["plain"]) for name, seconds in spent.items()}


def ratio(seconds: list[float], plain: list[float]) -> dict[str, float]:
    ratios = [mine / other for mine, other in zip(seconds, plain, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    values = {"time_ratio": statistics.median(ratios), "low_quartile": low, "high_quartile": high}
    return {"cpu_seconds": round(statistics.median(seconds), 4)} | {k: round(v, 3) for k, v in values.items()}


def describe(found: Geometry) -> dict[str, Any]:
    axes = [{"stride": a.stride, "center": a.center, "extent": a.extent} for a in found.axes]
    centers = [[None if np.isnan(c) else round(float(c), 2) for c in axis] for axis in found.effective]
    return {"axes_t_h_w": axes, "effective_t_h_w": centers, "unusable": found.unusable}


def setting() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return {"threads": torch.get_num_threads(), "load_average": os.getloadavg()[0], "versions": versions}


def write(path: Path, results: dict[str, Any]) -> None:
    """One row per line, so that differences can be read."""
    lines = []
    for key, value in results.items():
        if isinstance(value, list):
            text = "[\n  " + ",\n  ".join(json.dumps(row) for row in value) + "\n ]"
        elif isinstance(value, dict):
            text = "{\n  " + ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n }"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=240, help="fresh ones (%(default)s)")
    parser.add_argument("--rounds", type=int, default=41, help="of timing (%(default)s)")
    parser.add_argument("--weights", type=Path, help="another trained network of the demo's kind than the shipped one")
    parser.add_argument("--name", default="results_synthetic", help="of the result file (%(default)s)")
    parser.add_argument("--output", type=Path, default=HERE, help="folder (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="see only that it runs: 8 clips, into out/where_and_when")
    options = parser.parse_args()
    if options.quick:
        options.clips, options.rounds, options.output = 8, 3, Path("out/where_and_when")
    return options


if __name__ == "__main__":
    main()
