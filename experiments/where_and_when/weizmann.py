"""Train on real people, then ask of unseen ones: is heat in the right half of two actions, and on what moves?"""

import argparse
import os
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from run import CAMS, MOMENTS, TIME, describe, setting, write
from safetensors.torch import load_file, save_file
from scoring import (
    DEEP,
    GRAD_CAM,
    LAYERS,
    SPACE,
    Evidence,
    Floats,
    Geometry,
    Truth,
    explain,
    geometry,
    in_space,
    in_time,
    interval,
    measure,
    one_thread,
    profile,
)
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import resize

from vidcam.attribution.scores import class_score
from vidcam.data.preprocessing import Preprocessing
from vidcam.media import open_video
from vidcam.models.mini import FRAMES, MEAN, SIZE, STD, MiniNet, demo_net

HERE = Path(__file__).parent
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", HERE.parents[2] / "shared" / "data")) / "weizmann"
KEPT = (72, 90)  # half of the videos' size; what is called the source here
VIEW = Preprocessing(resize=SIZE, antialias=True).view(*KEPT)
FOLDS = (("daria", "denis"), ("eli", "ido"), ("ira", "lena"))
BATCH, LEARNING_RATE = 12, 4e-3
DIFFERENT, ENOUGH = 20 / 255, 0.004  # from the background; share of the picture that must move
Row = dict[str, Any]
Clips = dict[tuple[str, str], Tensor]
"""Per person and action: (F, 3, 72, 90) in 0..1."""


def main() -> None:
    options = parse()
    one_thread()
    clips = read(DATA)
    actions = sorted({action for _, action in clips})
    found: list[Row] = []
    options.output.mkdir(parents=True, exist_ok=True)
    for number in range(options.folds):
        found.append(fold(number, clips, actions, options))
        write(options.output / "results_weizmann.json", tables(found) | {"setting": setting()})


def tables(found: list[Row]) -> Row:
    """Put all folds so far together."""
    halves = [case for one in found for case in one["halves"]]
    places = [case for one in found for case in one["places"]]
    return {
        "folds": [one["facts"] for one in found],
        "cases": len(halves),
        "when": halves_table(halves),
        "when_differences": halves_differences(halves),
        "windows": len(places),
        "space": places_table(places),
        "space_differences": places_differences(places),
    }


def read(folder: Path) -> Clips:
    clips = {}
    for path in sorted(folder.glob("*/*.avi")):
        person, action = path.stem.split("_")
        frames = torch.from_numpy(np.stack([frame.pixels for frame in open_video(path)])).permute(0, 3, 1, 2)
        clips[person, action] = resize(frames, list(KEPT), antialias=True).float() / 255
    return clips


def fold(number: int, clips: Clips, actions: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Train without two people and measure on them."""
    unseen = FOLDS[number]
    known = {key: clip for key, clip in clips.items() if key[0] not in unseen}
    net = trained(known, actions, options, number)
    rng = np.random.default_rng(number)
    samples = [window(clip, rng, FRAMES) for clip in list(known.values())[:: len(known) // 6]]
    where = geometry(net, [feed(sample) for sample in samples], LAYERS[1:])
    tested = {key: clip for key, clip in clips.items() if key[0] in unseen}
    places = [case for key in tested for case in locate(net, tested[key], key, actions, where)]
    right = float(np.mean([case.right for case in places]))
    print(f"fold {number}: {right:.3f} of windows right", flush=True)
    pairs = [(p, a, b) for p in unseen for a, b in permutations(actions, 2)][:: 9 if options.quick else 1]
    halves = [case for p, a, b in pairs for case in ground(net, tested, p, (a, b), actions, where, rng)]
    facts = {"unseen": unseen, "accuracy": right, "cases": len(halves), "geometry": describe(where[DEEP])}
    return {"facts": facts, "halves": halves, "places": places}


def trained(clips: Clips, actions: list[str], options: argparse.Namespace, number: int) -> nn.Module:
    """Train, or take what an earlier run trained."""
    path = options.weights / f"weizmann_{number}.safetensors"
    if options.reuse and path.exists():
        net = MiniNet(len(actions))
        net.load_state_dict(load_file(path))
        return net.eval()
    net = fit(clips, actions, options.steps, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return net


def fit(clips: Clips, actions: list[str], steps: int, seed: int) -> nn.Module:
    """Tune the demo's network, which knows motion already, to ten actions."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = MiniNet(len(actions))
    net.load_state_dict({k: v for k, v in demo_net().state_dict().items() if not k.startswith("fc.")}, strict=False)
    net.train().to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps)
    keys = list(clips)
    for step in range(steps):
        chosen = [keys[i] for i in rng.integers(len(keys), size=BATCH)]
        x = torch.cat([feed(augment(window(clips[key], rng, FRAMES), rng)) for key in chosen])
        loss = functional.cross_entropy(
            net(x), torch.tensor([actions.index(a) for _, a in chosen]), label_smoothing=0.1
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"fold {seed} step {step + 1} loss {loss.item():.3f}", flush=True)
    return net.eval()


def window(clip: Tensor, rng: np.random.Generator, frames: int) -> Tensor:
    first = int(rng.integers(len(clip) - frames + 1))
    return clip[first : first + frames]


def augment(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut out a part, mirror (no action here has a side), vary contrast and light, add noise."""
    share = rng.uniform(0.8, 1)
    height, width = (round(share * n) for n in KEPT)
    top, left = rng.integers(KEPT[0] - height + 1), rng.integers(KEPT[1] - width + 1)
    clip = clip[:, :, top : top + height, left : left + width]
    clip = clip.flip(3) if rng.uniform() < 0.5 else clip
    clip = rng.uniform(0.7, 1.3) * (clip - 0.5) + 0.5 + rng.uniform(-0.15, 0.15)
    return clip + rng.uniform(0, 0.03) * torch.from_numpy(rng.standard_normal(clip.shape, np.float32))


def feed(clip: Tensor) -> Tensor:
    """(T, 3, H, W) -> (1, 3, T, 48, 64)"""
    x = resize(clip, list(SIZE), antialias=True)
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return x.transpose(0, 1)[None].contiguous()


Choice = tuple[str, str | None, bool]
"""Time placement, layer that tells when, mean subtracted."""
CHOICES: list[Choice] = [(t, None, True) for t in TIME]
CHOICES += [(t, m, b) for t in TIME for m in reversed(MOMENTS) for b in (True, False)]


@dataclass(frozen=True)
class Half:
    """A class that is explained in two concatenated actions."""

    person: str
    action: str
    scores: dict[Choice, dict[str, float]]


def ground(
    net: nn.Module,
    clips: Clips,
    person: str,
    pair: tuple[str, str],
    actions: list[str],
    where: dict[str, Geometry],
    rng: np.random.Generator,
) -> list[Half]:
    """Show half a window of either action; explain each that is among the three likeliest."""
    half = FRAMES // 2
    x = feed(torch.cat([window(clips[person, action], rng, half) for action in pair]))
    with torch.no_grad():
        likeliest = net(x)[0].topk(3).indices.tolist()
    cases = []
    for place, action in enumerate(pair):
        if actions.index(action) in likeliest:
            own = (np.arange(FRAMES) // half) == place
            evidence = explain(net, x, class_score(actions.index(action)))
            cases.append(Half(person, action, {c: share_of_half(evidence, c, own, where) for c in CHOICES}))
    return cases


def share_of_half(evidence: Evidence, choice: Choice, own: np.ndarray, where: dict[str, Geometry]) -> dict[str, float]:
    kind, layer, subtract = choice
    heat = evidence.heat[DEEP, GRAD_CAM].sum(axis=(1, 2))
    weights = in_time(where[DEEP], kind, len(heat), FRAMES) @ heat * moments(evidence, kind, layer, subtract, where)
    if not weights.sum() > 0:
        return {"share": np.nan, "peak": np.nan, "heat": 0.0}
    peak = own[weights >= weights.max() * (1 - 1e-5)].mean()
    return {"share": float(weights[own].sum() / weights.sum()), "peak": float(peak), "heat": 1.0}


def moments(
    evidence: Evidence, kind: str, layer: str | None, subtract: bool, where: dict[str, Geometry]
) -> Floats | float:
    if layer is None:
        return 1.0
    slots = evidence.moments[layer, subtract]
    return in_time(Geometry(where[layer].axes, ()), kind, len(slots), FRAMES) @ slots


def halves_table(cases: list[Half]) -> list[Row]:
    """Intervals are over the clips whose action is explained, not over the cases, which share them."""
    groups = group(cases)
    return [
        {"time": t, "when": m, "mean_subtracted": b if m else None}
        | {n: interval([c.scores[t, m, b][n] for c in cases], groups) for n in ("share", "peak", "heat")}
        for t, m, b in CHOICES
    ]


def halves_differences(cases: list[Half]) -> dict[str, Row]:
    ours = ("linear", "layer3", True)
    others = {"when none": ("linear", None, True), "when layer3, mean kept": ("linear", "layer3", False)}
    others |= {f"when {m}": ("linear", m, True) for m in MOMENTS if m != "layer3"}
    others |= {f"time {t}": (t, "layer3", True) for t in TIME if t != "linear"}
    rows = {f"linear, layer3 - {name}": gap(cases, ours, other) for name, other in others.items()}
    without = {f"time {t}": (t, None, True) for t in TIME if t != "linear"}
    plain = {f"linear, none - {name}, none": gap(cases, others["when none"], other) for name, other in without.items()}
    return rows | plain


def gap(cases: list[Half], one: Choice, other: Choice) -> Row:
    """First minus second on the same cases; and for how many of the people the first is better."""
    gaps = {n: [c.scores[one][n] - c.scores[other][n] for c in cases] for n in ("share", "peak")}
    people = sorted({case.person for case in cases})
    means = [np.nanmean([g for g, c in zip(gaps["share"], cases, strict=True) if c.person == p]) for p in people]
    groups = group(cases)
    better = {"people_better": int(np.sum(np.array(means) > 0)), "people": len(people)}
    return {name: interval(values, groups) for name, values in gaps.items()} | better


Spot = tuple[str, str, str, str | None]
"""Layer, CAM, space placement and layer that tells when; time is linear."""


@dataclass(frozen=True)
class Place:
    """One window of an unseen clip, its own action explained."""

    person: str
    action: str
    right: bool
    scores: dict[Spot, dict[str, float]]


def locate(
    net: nn.Module, clip: Tensor, key: tuple[str, str], actions: list[str], where: dict[str, Geometry]
) -> list[Place]:
    """Compare heat with what moves, in the first and in the last window."""
    background = clip.median(dim=0).values
    cases = []
    for first in sorted({0, len(clip) - FRAMES}):
        part = clip[first : first + FRAMES]
        truth = moving(part, background)
        if not truth.active.any():
            continue
        evidence = explain(net, feed(part), class_score(actions.index(key[1])), cams=CAMS)
        wanted: list[Spot] = [(DEEP, GRAD_CAM, s, m) for s in SPACE for m in (None, "layer3")]
        wanted += [(layer, cam, s, None) for layer in LAYERS[1:-1] for cam in CAMS for s in ("linear", "centers")]
        scores = {choice: place_score(evidence, choice, truth, where) for choice in wanted}
        cases.append(Place(*key, actions[int(evidence.output.argmax())] == key[1], scores))
    return cases


def moving(part: Tensor, background: Tensor) -> Truth:
    """Mark pixels that differ from the clip's median picture, smoothed over 3 x 3 pixels."""
    change = functional.avg_pool2d((part - background).abs().mean(dim=1, keepdim=True), 3, 1, 1)[:, 0]
    mask = (change > DIFFERENT).numpy()
    return Truth(mask, mask.mean(axis=(1, 2)) >= ENOUGH)


def place_score(evidence: Evidence, choice: Spot, truth: Truth, where: dict[str, Geometry]) -> dict[str, float]:
    layer, cam, kind, when = choice
    slots, *cells = evidence.heat[layer, cam].shape
    laid = np.einsum("Tt,thw->Thw", in_time(where[layer], "linear", slots, FRAMES), evidence.heat[layer, cam])
    found = profile(laid, in_space(where[layer], kind, (cells[0], cells[1]), VIEW), truth)
    values = measure(found, moments(evidence, "linear", when, True, where), truth, VIEW)
    area = float(truth.mask[truth.active].mean())
    return values | {"times_area": values["share_boxes_when_active"] / area}


MEASURES = ("times_area", "centroid_error", "centroid_x", "centroid_y", "peak_error", "peak_x", "peak_y")


def places_table(cases: list[Place]) -> list[Row]:
    choices = list(cases[0].scores)
    return [
        dict(zip(("layer", "cam", "space", "when"), choice, strict=True))
        | {n: spread(cases, choice, n) for n in MEASURES}
        for choice in choices
    ]


def places_differences(cases: list[Place]) -> dict[str, Row]:
    linear: Spot = (DEEP, GRAD_CAM, "linear", None)
    return {
        f"space linear - {s}": {n: spread(cases, linear, n, (DEEP, GRAD_CAM, s, None)) for n in MEASURES}
        for s in SPACE
        if s != "linear"
    }


def spread(cases: list[Place], one: Spot, name: str, other: Spot | None = None) -> list[float]:
    values = [case.scores[one].get(name, np.nan) for case in cases]
    if other is not None:
        values = [v - case.scores[other].get(name, np.nan) for v, case in zip(values, cases, strict=True)]
    return interval(values, group(cases))


def group(cases: list[Any]) -> list[int]:
    """Number the clip that a case's action is from."""
    names = sorted({(case.person, case.action) for case in cases})
    return [names.index((case.person, case.action)) for case in cases]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500, help=f"of {BATCH} clips (%(default)s)")
    parser.add_argument("--folds", type=int, default=1, help="of two unseen people each, up to 3 (%(default)s)")
    parser.add_argument("--weights", type=Path, default=Path("out/where_and_when"), help="kept here (%(default)s)")
    parser.add_argument("--reuse", action="store_true", help="take the weights that an earlier run kept")
    parser.add_argument("--output", type=Path, default=HERE, help="folder (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="see only that it runs, into out/where_and_when")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.folds = 2, 1
        options.output = options.weights = Path("out/where_and_when/quick")
    return options


if __name__ == "__main__":
    main()
