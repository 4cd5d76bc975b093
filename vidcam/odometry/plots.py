"""A picture of where the camera went, seen from above."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vidcam.data.drives.trajectory import Trajectory
from vidcam.errors import OptionError, printable
from vidcam.rendering.drawing import DAY, DAY_OTHERS, number, plain, round_step, save_figure

MARKS = 10  # about so many marks of the driven distance
STYLES: dict[str, dict[str, Any]] = {
    "true": {"color": DAY["ink"], "linewidth": 2.4, "zorder": 2},
    "predicted": {"color": DAY["target"], "linewidth": 1.6, "zorder": 4},
}
COLORS = (DAY["importance"], DAY["attention"], *DAY_OTHERS)


def trajectory_plot(
    true: Trajectory | None,
    others: Mapping[str, Trajectory],
    path: str | Path,
    *,
    title: str = "",
    unit: str = "m",
    force: bool = False,
) -> None:
    """Draw trajectories from above, x to the right and z upward, with the distance driven along the first one.

    Args:
        true: drawn first; None where it is not known.
        others: by their names, `predicted` the most visible; in the frame of reference of the re-based truth, as
            `align` returns them. Those of other names may leave the picture.
        path: the picture, in the format of its extension.
        title: above it.
        unit: of the positions.
        force: whether to replace a picture.

    Raises:
        OptionError: there is nothing to draw, or no such picture format.
        MediaError: the file exists and `force` is not set, or it cannot be written.
    """
    save_figure(figure(true, others, title=title, unit=unit), path, force=force)


def figure(true: Trajectory | None, others: Mapping[str, Trajectory], *, title: str = "", unit: str = "m") -> Figure:
    """Return the picture as a matplotlib figure."""
    drawn = ({} if true is None else {"true": true.rebased()}) | dict(others)
    if not drawn:
        raise OptionError("there is nothing to draw: no trajectory is given")
    figure = Figure(figsize=(7.5, 7.5), layout="constrained", facecolor=DAY["paper"])
    axes: Any = figure.subplots()
    free = iter(COLORS * (len(drawn) // len(COLORS) + 1))
    for name, trajectory in drawn.items():
        style = STYLES.get(name) or {"color": next(free), "linewidth": 1.3, "linestyle": "--", "zorder": 3}
        axes.plot(
            trajectory.positions[:, 0], trajectory.positions[:, 2], label=printable(name.replace("_", " ")), **style
        )
    _mark_distances(axes, next(iter(drawn.values())), unit)
    _look_at(axes, [trajectory for name, trajectory in drawn.items() if name in STYLES] or list(drawn.values()))
    axes.set_xlabel(printable(f"x, to the right ({unit})"), color=DAY["faint"])
    axes.set_ylabel(printable(f"z, ahead ({unit})"), color=DAY["faint"])
    axes.set_title(printable(title), loc="left", color=DAY["ink"])
    axes.grid(color=DAY["grid"], linewidth=0.6)
    axes.tick_params(colors=DAY["faint"], length=0)
    axes.spines[:].set_color(DAY["grid"])
    figure.legend(frameon=False, labelcolor=DAY["ink"], loc="outside lower center", ncols=4)
    return plain(figure)


def _look_at(axes: Any, trajectories: Sequence[Trajectory]) -> None:
    """Show these whole, with equal scales; a baseline may leave the picture."""
    seen = np.concatenate([trajectory.positions[:, [0, 2]] for trajectory in trajectories])
    middle, half = (seen.min(axis=0) + seen.max(axis=0)) / 2, 0.56 * float(np.ptp(seen, axis=0).max()) or 1.0
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set_aspect("equal")


def _mark_distances(axes: Any, trajectory: Trajectory, unit: str) -> None:
    """Mark the start, and every round number of meters driven."""
    across, ahead = trajectory.positions[:, 0], trajectory.positions[:, 2]
    axes.plot(across[0], ahead[0], "o", color=DAY["ink"], markersize=7, zorder=6)
    driven = trajectory.distances
    if driven[-1] == 0:
        return
    step = round_step(driven[-1] / MARKS)
    wanted = np.arange(step, driven[-1], step)
    frames = np.searchsorted(driven, wanted)
    axes.plot(
        across[frames], ahead[frames], "o", color=DAY["paper"], markeredgecolor=DAY["ink"], markersize=4, zorder=5
    )
    for frame, distance in zip(frames, wanted, strict=True):
        axes.annotate(
            f"{number(distance) if distance < 100 else f'{distance:.0f}'} {unit}",
            (across[frame], ahead[frame]),
            xytext=(5, 4),
            textcoords="offset points",
            fontsize=8,
            color=DAY["faint"],
            zorder=6,
        )
