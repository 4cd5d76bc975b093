"""Write results.md and result.png from the result files."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

HERE = Path(__file__).parent
SPACE = ("linear", "nearest", "effective", "ends", "centers")
WHEN = (None, "layer3", "layer2", "layer1", "stem", "input")
COLORS = ("#3b6fb6", "#e08a2e", "#4a9c5d")


MEASURES = {
    "share_active": "in active frames",
    "share_boxes": "in boxes",
    "share_boxes_when_active": "in boxes, of active frames",
    "peak_active": "peak frame active",
    "time_error": "time error, frames",
    "time_bias": "bias",
    "centroid_error": "centroid error, px",
    "centroid_x": "bias x",
    "centroid_y": "bias y",
    "peak_error": "peak error, px",
    "peak_x": "bias x",
    "peak_y": "bias y",
}
REAL = {"times_area": "share over area share"} | {k: v for k, v in MEASURES.items() if k[:4] in ("cent", "peak")}
REAL.pop("peak_active")
Row = dict[str, Any]


def main() -> None:
    shipped, other, real = (load(name) for name in ("synthetic", "synthetic_other", "weizmann"))
    parts = [*synthetic("The shipped network", shipped), *synthetic("Another seed", other), *people(real)]
    (HERE / "results.md").write_text("\n".join(parts) + "\n")
    draw(shipped, other, real)


def synthetic(title: str, found: Row) -> list[str]:
    """Tables of one network on clips with known truth."""
    uniform = ", ".join(f"{MEASURES[name]} {value[0]:.3f}" for name, value in found["uniform"].items())
    clips = f"{found['clips']} clips, {found['accuracy']:.3f} of them right"
    intro = f"{clips}. Mean ± half of the 95 % interval. Heat spread evenly: {uniform}."
    lines = [f"# {title}", "", intro, "", "## Every placement, `when` none", ""]
    lines += table(found["placements"], ("time", "space"), MEASURES)
    lines += ["", "## Every `when`, linear in space", ""]
    lines += table(found["when"], ("time", "when", "mean_subtracted"), MEASURES)
    lines += ["", "## One layer alone, or with `when` layer3; linear in time", ""]
    lines += table(found["shallower"], ("layer", "cam", "grid", "space", "when"), MEASURES)
    lines += ["", "## Pairs on the same clips, first minus second", ""]
    lines += table([{"pair": k} | v for k, v in found["differences"].items()], ("pair",), MEASURES)
    lines += ["", "## Where the object and the event are, by the hottest cell or slot", ""]
    lines += [f"- {name}: `{json.dumps(value)}`" for name, value in found["calibration"].items()]
    lines += ["", "## Cost over the plain forward: ratio of CPU time, median and quartiles", ""]
    cost = found["cost"].items()
    lines += [f"- {k}: {v['time_ratio']:.2f} ({v['low_quartile']:.2f} to {v['high_quartile']:.2f})" for k, v in cost]
    return [*lines, ""]


def people(found: Row) -> list[str]:
    """Tables of the real clips."""
    folds = "; ".join(f"{' and '.join(f['unseen'])} unseen: {f['accuracy']:.3f} right" for f in found["folds"])
    halves = {"share": "share in own half", "peak": "peak frame in own half"}
    both = halves | {"people_better": "people for whom better"}
    lines = ["# Real people", "", f"Windows of one action, {folds}.", "", f"## Own half: {found['cases']} cases", ""]
    lines += table(found["when"], ("time", "when", "mean_subtracted"), halves)
    lines += ["", "## Pairs on the same cases, first minus second", ""]
    lines += table([{"pair": k} | v for k, v in found["when_differences"].items()], ("pair",), both)
    lines += ["", f"## Heat and what moves: {found['windows']} windows", ""]
    lines += table(found["space"], ("layer", "cam", "space", "when"), REAL)
    lines += ["", "## Pairs on the same windows, first minus second", ""]
    return lines + table([{"pair": k} | v for k, v in found["space_differences"].items()], ("pair",), REAL)


def table(rows: list[Row], keys: tuple[str, ...], measures: dict[str, str]) -> list[str]:
    head = [key.replace("_", " ") for key in keys] + list(measures.values())
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        cells = [str(row[key]).lower() for key in keys] + [number(row[name]) for name in measures]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def number(value: list[float] | int) -> str:
    if isinstance(value, int):
        return str(value)
    mean, low, high = value
    return f"{mean:.3f} ± {(high - low) / 2:.3f}"


def draw(shipped: Row, other: Row, real: Row) -> None:
    figure, panels = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    placement_curves(panels[0, 0], shipped, other)
    peak_errors(panels[0, 1], shipped, other, real)
    shares(panels[1, 0], shipped, "share_active", shipped["uniform"]["share_active"][0])
    panels[1, 0].set_title("Clips with known truth: heat in the active frames")
    shares(panels[1, 1], real, "share", 0.5)
    panels[1, 1].set_title("Two real actions in a row: heat in the class's own half")
    figure.savefig(HERE / "result.png", dpi=110)


def load(name: str) -> Row:
    found: Row = json.loads((HERE / f"results_{name}.json").read_text())
    return found


def placement_curves(panel: Axes, *networks: Row) -> None:
    """Where the object is while a cell is the hottest, against where the placements put the cell."""
    said = networks[0]["calibration"]["across"]["placements"]
    cells = np.arange(len(said["linear"]))
    for name, style in (("linear", "k-"), ("centers", "k--"), ("effective", "k:")):
        panel.plot(cells, np.subtract(said[name], said["linear"]), style, label=f"placement {name}", lw=1.3)
    for network, color, label in zip(networks, COLORS, ("shipped network", "another seed"), strict=False):
        found = np.array(network["calibration"]["across"]["median_position"], float)
        panel.plot(cells, found - said["linear"], "o", color=color, label=f"object's median, {label}")
    panel.set(xlabel="hottest column of cells", ylabel="pixels from the middle of its eighth")
    panel.set_title("Where is the object while a cell is the hottest?")
    panel.set_ylim(-8, 3.5)
    panel.legend(fontsize=8, loc="lower left", ncols=2)


def peak_errors(panel: Axes, *networks: Row) -> None:
    labels = ("shipped network", "another seed", "real people")
    for i, (network, color, label) in enumerate(zip(networks, COLORS, labels, strict=True)):
        rows = [row for row in network.get("placements", network["space"] if "space" in network else [])]
        rows = [row for row in rows if row.get("time", "linear") == "linear" and row.get("layer", "layer4") == "layer4"]
        found = {row["space"]: row["peak_error"] for row in rows if row["when"] is None}
        bars(panel, [found[kind] for kind in SPACE], i, 3, color, label)
    panel.set_xticks(range(len(SPACE)), SPACE)
    panel.set(ylabel="pixels, of 48 x 64", title="From the hottest pixel to the object's middle")
    panel.legend(fontsize=8, loc="lower right", framealpha=0.95)


def shares(panel: Axes, results: Row, measure: str, uniform: float) -> None:
    for i, (subtract, color, label) in enumerate(
        zip((True, False), COLORS, ("less its mean", "as it is"), strict=False)
    ):
        rows = [
            row for row in results["when"] if row["time"] == "linear" and row["mean_subtracted"] in (None, subtract)
        ]
        found = {row["when"]: row[measure] for row in rows}
        bars(panel, [found[layer] for layer in WHEN], i, 2, color, f"activation {label}")
    panel.axhline(uniform, color="gray", ls="--", lw=1, label="heat spread evenly")
    panel.set_xticks(range(len(WHEN)), [f"when {layer or 'none'}" for layer in WHEN], fontsize=8)
    panel.set(ylim=(0, 1), ylabel="share of the heat")
    panel.legend(fontsize=8, loc="lower right", framealpha=0.95)


def bars(panel: Axes, found: list[list[float]], number: int, of: int, color: str, label: str) -> None:
    mean, low, high = np.array(found).T
    places = np.arange(len(found)) + (number - (of - 1) / 2) * 0.8 / of
    panel.bar(places, mean, 0.75 / of, color=color, label=label)
    panel.errorbar(places, mean, [mean - low, high - mean], fmt="none", ecolor="k", elinewidth=0.8, capsize=2)


if __name__ == "__main__":
    main()
