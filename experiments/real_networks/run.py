"""Load real networks that others trained, check that they do what they are known for, explain them, and control that.

python experiments/real_networks/run.py [--work FOLDER] [--parts NAME ...]

Needs ale-py and OpenCV; writes results.json.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from controls import controls, tails
from playing import play
from violence import flow, standard

import vidcam

HERE = Path(__file__).parent
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", "../shared/data"))
NETWORKS, UCF = DATA / "networks", DATA / "ucf101"
BENCH, DIVES = sorted((UCF / "BenchPress").glob("*.avi")), sorted((UCF / "Diving").glob("*.avi"))


def loaded(file: str, weights: str, **options: Any) -> vidcam.Model:
    """Load a network as the command line does."""
    folder = NETWORKS / weights
    checkpoint = folder / "model.safetensors" if folder.is_dir() else folder.with_suffix(".safetensors")
    labels = folder / "labels.json"
    names = {"labels": labels} if labels.exists() else {}
    return vidcam.load_model(f"{HERE / file}.py:net", checkpoint=checkpoint, options=options, **names)


def read(path: Path) -> list[np.ndarray]:
    return [frame.pixels for frame in vidcam.media.open_video(path)]


def spread(model: vidcam.Model, path: Path) -> list[Any]:
    """Prepare the frames that the network was trained on: spread over the whole video."""
    frames = read(path)
    step = max(len(frames) // model.frames, 1)
    return [model.prepare(frames[min(k * step, len(frames) - 1)]) for k in range(model.frames)]


@torch.no_grad()
def says(model: vidcam.Model, clip: list[Any]) -> np.ndarray:
    x = model.batch([clip])
    return (model.net(**x) if isinstance(x, dict) else model.net(x)).softmax(1)[0].numpy()


def lrcn(name: str, clips: list[Path]) -> dict[str, Any]:
    model, told = loaded(name, name), {}
    for clip in clips:
        chance = says(model, spread(model, clip))
        told[clip.stem] = [model.labels[chance.argmax()], round(float(chance.max()), 3)]
    return {"right": sum(label in clip for clip, (label, _) in told.items()), "of": len(told), "told": told}


def atari_points(work: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for game, ways in {"pong": ["sampled"], "breakout": ["sampled", "likeliest"]}.items():
        model = loaded("atari", f"atari/{game}", game=game)
        screens = work / game
        screens.mkdir(parents=True, exist_ok=True)
        for how in ways:
            keep = range(60, 240) if how == "sampled" else range(0)
            points = [play(model, game, seed, how, screens if seed == 0 else None, keep) for seed in range(3)]
            found[f"{game}, {how}"] = {"points": points, "mean": round(float(np.mean(points)), 1)}
    return found


def pilotnet() -> dict[str, float]:
    model = loaded("pilotnet", "pilotnet")
    with (DATA / "steering" / "driving.csv").open() as file:
        rows = list(csv.DictReader(file))
    frames = [cv2.imread(str(DATA / "steering" / row["path"]))[..., ::-1] for row in rows]
    with torch.no_grad():
        told = model.net(torch.stack([model.prepare(frame) for frame in frames])).flatten().numpy()
    human = np.array([float(row["steering"]) for row in rows])
    return {"correlation": round(float(np.corrcoef(told, human)[0, 1]), 3), "mean": round(float(told.mean()), 3)}


def violence() -> dict[str, float]:
    model, found = loaded("violence", "violence"), {}
    for path in (*sorted((NETWORKS / "violence").glob("*.gif")), DIVES[0]):
        found[path.name] = round(float(says(model, spread(model, path))[0]), 3)
    clip = torch.rand(4, 3, 32, 32)
    assert abs(float(standard(clip).std()) - 1) < 1e-3 and flow(clip).shape == (4, 2, 32, 32)
    return found


def explained(work: Path) -> dict[str, Any]:
    """Explain each from the command line; tell the exit status, the seconds and how the heat is spread."""
    drive, found = work / "drive", {}
    drive.mkdir(exist_ok=True)
    for i, frame in enumerate(sorted((DATA / "steering" / "frames").glob("*.jpg"))[:150]):
        (drive / f"{i:05d}.jpg").write_bytes(frame.read_bytes())
    gif = NETWORKS / "violence" / "transient.gif"
    for name, source, file, weights, more in [
        ("lrcn_ucf50", DIVES[0], "lrcn_ucf50", "lrcn_ucf50", ["--option", "frame_rate=2.5"]),
        ("lrcn_seven", BENCH[0], "lrcn_seven", "lrcn_seven", []),
        ("pong", work / "pong", "atari", "atari/pong", ["--method", "layer_cam"]),
        ("breakout", work / "breakout", "atari", "atari/breakout", ["--option", "game=breakout"]),
        ("pilotnet", drive, "pilotnet", "pilotnet", ["--target", "angle"]),
        ("violence, color", gif, "violence", "violence", ["--target", "fight"]),
        ("violence, flow", gif, "violence", "violence", ["--target", "fight", "--layer", "OptFlow_Network.3"]),
    ]:
        folder = NETWORKS / weights
        checkpoint = folder / "model.safetensors" if folder.is_dir() else folder.with_suffix(".safetensors")
        labels = ["--labels", str(folder / "labels.json")] if (folder / "labels.json").exists() else []
        output, begin = work / "explained" / name.replace(", ", "_"), time.perf_counter()
        where = ["--model", f"{HERE / file}.py:net", "--checkpoint", str(checkpoint), "--output", str(output)]
        said = [sys.executable, "-m", "vidcam", "explain", str(source), *where, *labels, *more, "--force"]
        found[name] = {
            "status": subprocess.run(said, check=False).returncode,
            "seconds": round(time.perf_counter() - begin, 1),
        }
        found[name] |= tails(vidcam.Explanation.load(output / "explanation.npz"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None, help="keeps screens and explanations")
    parser.add_argument("--parts", nargs="*", default=[], help="only these; the others' results stay")
    asked = parser.parse_args()
    work = asked.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    known = (loaded, work, DIVES, UCF / "boxes.csv", NETWORKS / "violence" / "transient.gif")
    parts = {
        "lrcn_ucf50": lambda: lrcn("lrcn_ucf50", [*BENCH, *DIVES]),
        "lrcn_seven": lambda: lrcn("lrcn_seven", BENCH),
        "pilotnet": pilotnet,
        "atari": lambda: atari_points(work),
        "explained": lambda: explained(work),
        "violence": violence,
        **{
            f"controls of {name}": partial(controls, (name,), *known)
            for name in ("lrcn_ucf50", "pong", "pilotnet", "violence")
        },
    }
    for name in asked.parts or parts:
        found = parts[name]()
        print(name, json.dumps(found), file=sys.stderr, flush=True)
        file = HERE / "results.json"
        results = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(results | {name: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
