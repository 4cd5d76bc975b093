"""The plots of the timeline: one thing over time each."""

from typing import Any

from matplotlib.axes import Axes

from vidcam.explaining.explanation import Explanation
from vidcam.rendering.curves import importance, kind, limits, output, runners_up
from vidcam.rendering.drawing import DAY, DAY_OTHERS, number, shorten
from vidcam.rendering.traits import VANISHES, vanishing_spans
from vidcam.types import Floats

ASIDE = 196  # points at the right of a panel


def entitle(axes: Axes, title: str, color: str) -> None:
    """Write the title of a panel."""
    axes.set_title(title, loc="left", fontsize=10.5, color=color, pad=6, parse_math=False)


def draw_importance(axes: Axes, explanation: Explanation, k: int) -> None:
    """Draw each frame's heat, and mark the k hottest frames."""
    share = importance(explanation)
    peak = float(explanation.frame_scores.max())
    scale = f"share of the hottest frame's {number(peak)}" if peak > 0 else "no frame has any positive heat"
    entitle(axes, f"frame importance, {scale}", DAY["importance"])
    axes.fill_between(explanation.seconds, 0, share, color=DAY["importance"], alpha=0.22, linewidth=0)
    axes.plot(explanation.seconds, share, color=DAY["importance"], linewidth=1.6)
    axes.set(ylim=(0, 1.12), yticks=(0, 0.5, 1))
    if peak > 0:
        top = explanation.top_frames(k)
        axes.plot(
            explanation.seconds[top], share[top], "o", ms=5, mfc="white", mec=DAY["importance"], mew=1.4, clip_on=False
        )
        aside(axes, [(f"○ top {len(top)} frames", DAY["importance"]), (f"hottest: frame {top[0]}", DAY["faint"])])


def draw_classes(axes: Axes, explanation: Explanation, others: int) -> None:
    """Draw the extent of each window as a bar at the height of the target's value, and a line per class."""
    rivals = runners_up(explanation, others)
    shown = [explanation.target, *rivals]
    n = len(explanation.windows)
    entitle(axes, f"{kind(explanation)} in {n} window{'s' * (n != 1)}, each bar the extent of one", DAY["ink"])
    low, high = limits(explanation, shown)
    for component, color in [*zip(rivals, DAY_OTHERS * len(rivals), strict=False)][::-1]:
        axes.plot(*output(explanation, component), color=color, linewidth=1.3)
    values = explanation.probabilities[:, explanation.target]
    axes.hlines(values, *explanation.windows.T, color=DAY["target"], alpha=0.3, linewidth=3.5 if n < 40 else 2)
    axes.plot(*output(explanation), color=DAY["target"], linewidth=2.2)
    axes.plot(explanation.windows.mean(axis=1), values, "o", color=DAY["target"], ms=4 if n < 40 else 0)
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    if (low, high) == (0, 1):
        axes.set_yticks((0, 0.5, 1))
    means = explanation.probabilities.mean(axis=0)
    tints = (DAY["target"], *DAY_OTHERS * len(rivals))
    aside(axes, [(f"{number(means[c])} {explanation.name(c)}", t) for c, t in zip(shown, tints, strict=False)])


def draw_attention(axes: Axes, explanation: Explanation, attention: Floats) -> None:
    """Draw the weight that the network gives to each frame."""
    entitle(axes, "the network's own attention weight", DAY["attention"])
    axes.fill_between(explanation.seconds, 0, attention, color=DAY["attention"], alpha=0.2, linewidth=0)
    axes.plot(explanation.seconds, attention, color=DAY["attention"], linewidth=1.6)
    axes.set_ylim(0, max(float(attention.max()), 1e-12) * 1.12)


def draw_target(axes: Axes, explanation: Explanation) -> None:
    """Draw the value of a regression at every frame, in its own unit."""
    title = ", ".join(filter(None, [explanation.target_name, explanation.unit]))
    _draw_values(axes, explanation, explanation.values, f"{title}, at every frame", DAY["target"])
    axes.set_ylim(*limits(explanation))


def draw_loss(axes: Axes, explanation: Explanation, loss: Floats) -> None:
    """Draw the loss at every frame, from zero on if it has no negative values."""
    _draw_values(axes, explanation, loss, "loss, at every frame", DAY["loss"])
    if loss.min() >= 0:
        axes.set_ylim(0, max(float(loss.max()), 1e-12) * 1.12)


def _draw_values(axes: Axes, explanation: Explanation, values: Floats, title: str, color: str) -> None:
    entitle(axes, title, color)
    axes.plot(explanation.seconds, values, color=color, linewidth=1.8)
    if values.min() < 0 < values.max():
        axes.axhline(0, color=DAY["faint"], linewidth=0.8, linestyle=(0, (4, 3)))
    said = {"mean": values.mean(), "lowest": values.min(), "highest": values.max()}
    aside(
        axes,
        [
            (f"{word} {number(float(value))}", DAY["faint"] if i else color)
            for i, (word, value) in enumerate(said.items())
        ],
    )


def draw_gradient(axes: Axes, explanation: Explanation, size: Floats) -> None:
    """Draw the size of the target's gradient on a logarithmic axis, and shade where it vanishes."""
    entitle(axes, f"size of the gradient of {explanation.target_name} at the layer, logarithmic", DAY["importance"])
    positive = size[size > 0]
    floor, top = (float(positive.min()) / 2, float(positive.max()) * 2) if positive.size else (0.1, 1.0)
    axes.set_yscale("log")
    axes.set_ylim(floor, top)
    axes.plot(explanation.seconds, size.clip(min=floor), color=DAY["importance"], linewidth=1.6)
    axes.minorticks_off()
    gaps = int(explanation.is_vanishing.sum())
    vanished = [(f"{VANISHES} at {gaps} of {len(size)} frames", DAY["vanishing_ink"])] if gaps else []
    aside(axes, [(f"mean {number(float(size.mean()))}", DAY["importance"]), *vanished])


def shade_vanishing(axes: Axes, explanation: Explanation) -> None:
    """Shade the frames at which the gradient vanishes."""
    for start, end in vanishing_spans(explanation):
        axes.axvspan(start, end, color=DAY["vanishing"], linewidth=0, zorder=0)


def aside(axes: Axes, lines: list[tuple[str, str]]) -> None:
    """Write lines at the right of a panel, one below the other, each cut to fit."""
    for i, (text, color) in enumerate(lines):
        text = shorten(text, ASIDE, size=10)
        place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
        axes.annotate(text, (1, 1), (12, -4 - 17 * i), va="top", fontsize=10, color=color, **place)
