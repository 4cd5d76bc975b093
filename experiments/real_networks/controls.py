"""What heat is worth: on what is known to matter, and on videos and weights that hold nothing."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import vidcam

BALL, PADDLE = (236, 236, 236), (92, 186, 92)


def tails(explanation: vidcam.Explanation) -> dict[str, float]:
    """Tell how much of the heat a picture on one scale shows."""
    heat = np.abs(explanation.heat)
    peak, own = heat.max(), heat.max((1, 2))
    return {
        "hottest": float(f"{peak:.3g}"),
        "cells below 4 %": round(float((heat < 0.04 * peak).mean()), 3),
        "frames that stay below 10 %": round(float((own < 0.1 * peak).mean()), 3),
    }


def density(explanation: vidcam.Explanation, masks: dict[int, np.ndarray]) -> float:
    """Return how many times more heat lies on the masks than even spreading inside of the region would put there."""
    left, top, right, bottom = (round(edge + 0.5) for edge in explanation.region)
    times = []
    for frame, mask in masks.items():
        heat, inside = np.abs(explanation.dense(frame))[top:bottom, left:right], mask[top:bottom, left:right]
        if heat.sum() > 0 and inside.any():
            times.append(heat[inside].sum() / heat.sum() / inside.mean())
    return round(float(np.mean(times)), 2) if times else float("nan")


def of_color(folder: Path, color: tuple[int, int, int]) -> dict[int, np.ndarray]:
    """Find an object by its color in the rows 35 to 195, and 8 pixels around it: half a cell of the layer's."""
    masks = {}
    for index, path in enumerate(sorted(folder.glob("*.png"))):
        found = (cv2.imread(str(path))[..., ::-1] == color).all(2)
        found[:35], found[194:] = False, False
        if 0 < found.sum() < 200:
            masks[index] = cv2.dilate(found.astype(np.uint8), np.ones((17, 17))).astype(bool)
    return masks


def boxes(path: Path, video: str) -> dict[int, np.ndarray]:
    masks: dict[int, np.ndarray] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["video"].endswith(video):
                left, top, width, height = (int(float(row[key])) for key in ("left", "top", "width", "height"))
                mask = masks.setdefault(int(row["frame"]), np.zeros((240, 320), bool))
                mask[max(top, 0) : top + height, max(left, 0) : left + width] = True
    return masks


def shuffled(model: vidcam.Model) -> vidcam.Model:
    """Return the network with the values of each of its tensors in another order."""
    net, generator = copy.deepcopy(model.net), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own in net.parameters():
            own.copy_(own.flatten()[torch.randperm(own.numel(), generator=generator)].view_as(own))
    return vidcam.Model(**{**_slots(model), "net": net})


def _slots(model: vidcam.Model) -> dict[str, Any]:
    names = ("layer", "frames", "frame_rate", "input_layout", "labels", "scores", "sees", "state")
    slots = {name: getattr(model, name) for name in names}
    return {**slots, **({"inputs": model.inputs} if model.inputs else {"preprocessing": model.preprocessing})}


def made(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index:05d}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return folder


def controls(
    names: tuple[str, ...], load: Callable[..., Any], work: Path, dives: list[Path], table: Path, gif: Path
) -> dict[str, Any]:
    """Explain the same with a still video, a gray one, and shuffled weights."""
    found: dict[str, Any] = {}
    for name, model, source, target, method, known in [
        ("lrcn_ucf50", load("lrcn_ucf50", "lrcn_ucf50", frame_rate=2.5), dives[0], "Diving", "grad_cam", "diver"),
        ("pong", load("atari", "atari/pong", game="pong"), work / "pong", None, "layer_cam", "ball and paddle"),
        ("pilotnet", load("pilotnet", "pilotnet"), work / "drive", "angle", "grad_cam", ""),
        ("violence", load("violence", "violence"), gif, "fight", "grad_cam", ""),
    ]:
        if name not in names:
            continue
        own = vidcam.explain(model, source, target=target, method=method)
        first = next(iter(vidcam.media.open_video(source))).pixels
        still, gray = [first] * 64, [np.full_like(first, 128)] * 64
        asked = own.target_name if target is None else target
        asked = int(asked) if str(asked).isdigit() else asked
        found[name] = {"own": _told(own)}
        for kind, other, at in [
            ("still", model, made(work / name / "still", still)),
            ("gray", model, made(work / name / "gray", gray)),
            ("shuffled weights", shuffled(model), source),
        ]:
            told = vidcam.explain(other, at, target=asked, method=method)
            found[name][kind] = _told(told)
            if kind == "shuffled weights":
                both = np.corrcoef(np.abs(own.heat).ravel(), np.abs(told.heat).ravel())[0, 1]
                found[name][kind]["correlation with its own heat"] = round(float(both), 3)
            for part, masks in _known(known, work, table, dives).items() if kind == "shuffled weights" else ():
                found[name]["own"][f"density on {part}"] = density(own, masks)
                found[name][kind][f"density on {part}"] = density(told, masks)
    return found


def _known(known: str, work: Path, table: Path, dives: list[Path]) -> dict[str, dict[int, np.ndarray]]:
    if known == "diver":
        return {"the diver": boxes(table, dives[0].name)}
    return {"the ball": of_color(work / "pong", BALL), "the paddle": of_color(work / "pong", PADDLE)} if known else {}


def _told(explanation: vidcam.Explanation) -> dict[str, Any]:
    scores = explanation.frame_scores
    value = explanation.probability if explanation.is_class else float(explanation.values.mean())
    change = round(float(scores.std() / scores.mean()), 3) if scores.mean() > 0 else 0.0
    return {
        "says": round(value, 3),
        **tails(explanation),
        "frames differ by": change,
        "flat": bool(explanation.is_flat),
    }
