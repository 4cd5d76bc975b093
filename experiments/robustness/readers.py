"""What reads each kind of input, what is done with what was read, and when it was nonsense."""

import io
import json
import random
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path

import material
import numpy as np
import torch
from commands import commands
from material import Made, Maker
from networks import layouts, options
from sets import drives, recipes

from vidcam.__main__ import main as command
from vidcam.data.drives.trajectory import read_trajectory
from vidcam.data.manifest import read_manifest
from vidcam.explaining.explanation import Explanation
from vidcam.media import open_video
from vidcam.models.build import load_model, read_labels
from vidcam.models.checkpoint import write_checkpoint
from vidcam.rendering import timeline
from vidcam.rendering.drive import drive_scene
from vidcam.rendering.look import Look
from vidcam.rendering.video import scene

Reader = Callable[[Path], str | None]
"""A path -> what is wrong with what was accepted, if anything is; exceptions pass."""
MANIFEST = '# labels: ["run", "walk"]\npath,label,split,start_seconds,end_seconds,group\n' + "".join(
    f"{i}.mp4,{('run', 'walk')[i % 2]},{('train', 'test')[i % 3 == 0]},{i}.5,{i + 2},g{i}\n" for i in range(8)
)
LABELS = "run\nwalk\nclap\n"
LABELS_JSON = '{"run": 0, "walk": 1, "clap": 2}'
POSES = "".join(f"1.0 0.0 0.0 {i}.5 0.0 1.0 0.0 0.25 0.0 0.0 1.0 -3e-2\n" for i in range(9))
RUN = json.dumps({"options": {"model": "r2plus1d_mini", "epochs": 3, "options": ["frames=8"], "batch": 4, "seed": 1}})
TOML = 'model = "r2plus1d_mini"\nepochs = 3\nlearning_rate = 1e-3\n[options]\nframes = 8\nsize = [24, 32]\n'
TEXTS = {"m.csv": MANIFEST, "l.txt": LABELS, "l.json": LABELS_JSON, "p.txt": POSES, "r.json": RUN, "r.toml": TOML}


def put(folder: Path, made: Made) -> Path:
    """Write an input; a picture becomes the middle one of a folder of three."""
    name, data = made
    for old in folder.glob("input*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    if name.startswith("picture"):
        path = folder / "input"
        path.mkdir()
        end = name.removeprefix("picture")
        for number, held in enumerate((material.picture(random.Random(0))[1], data)):
            (path / f"{number:03}{end}").write_bytes(held)
        return path
    path = folder / f"input{'-' if '.' in name[1:] else ''}{name}"
    path.write_bytes(data)
    return path


def text(folder: Path) -> tuple[Maker, Reader]:
    """Manifests, labels, poses, run.json and TOML."""

    def make(rng: random.Random, deep: bool) -> Made:
        name, sound = rng.choice(sorted(TEXTS.items()))
        return name, material.reworded(sound, rng) if deep else material.damaged(sound.encode(), rng)

    def read(path: Path) -> str | None:
        if path.name.endswith("m.csv"):
            told = read_manifest(path, require_files=False)
            sound = told.digests and all(row.label in told.labels for row in told.rows)
            return None if sound and len(set(told.labels)) == len(told.labels) else "labels of a manifest"
        if "-l." in path.name:
            return None if all(isinstance(label, str) for label in read_labels(path)) else "labels"
        if path.name.endswith("p.txt"):
            poses = read_trajectory(path).poses
            turned = poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
            return None if np.isfinite(poses).all() and np.abs(turned - np.eye(3)).max() < 0.1 else "poses"
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            command(["train", str(folder / "none.csv"), "--config", str(path)])
        return None

    return make, read


def npz(folder: Path) -> tuple[Maker, Reader]:
    """Saved explanations, with all that is read of them without the source."""
    random_numbers, frames = np.random.default_rng(0), 8
    sound = Explanation.from_heat(
        random_numbers.random((frames, 4, 5)).astype(np.float32),
        target=1,
        probabilities=np.array([[0.2, 0.7, 0.1]] * 2),
        seconds=np.arange(frames) / 10,
        rows=np.arange(4) * 8.0,
        columns=np.arange(5) * 8.0,
        spread="linear",
        width=40,
        height=32,
        region=(-0.5, -0.5, 39.5, 31.5),
        rate=Fraction(10),
        windows=np.array([[0.0, 0.4], [0.4, 0.8]]),
        labels=("a", "b", "c"),
        notes=("note",),
        attention=np.full(frames, 1 / frames),
        provenance={"method": "grad_cam", "source": "clip.mp4"},
    ).save(folder / "sound.npz", force=True)
    kinds = {path: dict(np.load(path)) for path in (sound, _regression(folder / "regression.npz"))}

    def make(rng: random.Random, deep: bool) -> Made:
        path = rng.choice(sorted(kinds))
        return material.explanation(kinds[path], rng) if deep else (".npz", material.damaged(path.read_bytes(), rng))

    def read(path: Path) -> str | None:
        told = Explanation.load(path)
        told.top_frames(3), told.normalize(), told.dense(0), told.of(told.target), repr(told), told.duration_seconds
        json.dumps(told.summary(), default=str)
        [told.of(column) for column in told.explained], told.attention, told.poses, told.depth, told.score_notes
        timeline(told, path.with_suffix(".png"), force=True)
        scene(told, Look(bar=True, colorbar=True))
        if told.poses is not None:
            drive_scene(told)
        for name in ("maps", "seconds", "probabilities", "outputs", "rows", "columns", "windows"):
            values = getattr(told, name)
            if np.iscomplexobj(values) or not np.isfinite(values).all():
                return f"{name} are not finite"
        return "times run backwards" if (np.diff(told.seconds) < 0).any() else None

    return make, read


def _regression(path: Path) -> Path:
    """Save what is known of a drive: three scores, signed, with poses and depth."""
    rng, frames = np.random.default_rng(1), 6
    poses = np.repeat(np.eye(4)[None], frames, 0)
    poses[:, 2, 3] = np.arange(frames)
    return Explanation(
        maps=rng.normal(size=(3, frames, 3, 4)).astype(np.float32),
        explained=(0, 1, 2),
        classes=0,
        target=1,
        labels=("loss", "tz", "turn"),
        units=("", "m", "rad"),
        probabilities=rng.random((2, 3)),
        outputs=rng.random((frames, 3)),
        gradients=rng.random((3, frames)),
        vanishing=np.arange(3 * frames).reshape(3, frames) % 5 == 0,
        signed=True,
        seconds=np.arange(frames) / 10,
        rows=np.arange(3) * 8.0,
        columns=np.arange(4) * 8.0,
        spread="linear",
        width=32,
        height=24,
        region=(-0.5, -0.5, 31.5, 23.5),
        rate=Fraction(10),
        windows=np.array([[0.0, 0.4], [0.2, 0.6]]),
        notes=(),
        extras={"poses": poses, "true_poses": poses * 1.0, "depth": rng.random((frames, 3, 4)) + 1},
        provenance={"method": "grad_cam", "source": "drive", "geometry": {"t": [1, 0, 1]}},
    ).save(path, force=True)


def checkpoints(folder: Path) -> tuple[Maker, Reader]:
    """State dicts and safetensors, loaded into the network that they are of, and run once."""
    options = {"frames": 4, "size": [16, 16], "classes": 3}
    model = load_model("r2plus1d_mini", weights=None, options=options)
    model.labels = ("a", "b", "c")
    sound = write_checkpoint(model, folder / "sound.safetensors", force=True).read_bytes()
    state = model.net.state_dict()
    size = int.from_bytes(sound[:8], "little")
    facts = json.loads(json.loads(sound[8 : 8 + size])["__metadata__"]["vidcam"])

    def make(rng: random.Random, deep: bool) -> Made:
        if deep:
            return material.weights(state, facts, rng)
        head = 8 + size  # most damage to the numbers behind it is just other numbers
        return ".safetensors", material.damaged(sound[:head], rng) + sound[head:]

    def read(path: Path) -> str | None:
        described = path.suffix == ".safetensors"
        loaded = load_model(None if described else "r2plus1d_mini", checkpoint=path, options=None if described else {})
        rate = loaded.frame_rate
        if not 0 < loaded.frames <= 2**16 or (rate is not None and not 0 < rate < 1e6):
            return "frames or rate"
        if any(not p.isfinite().all() for p in loaded.net.parameters()):
            return "weights are not finite"
        frame = loaded.preprocessing(np.zeros((20, 30, 3), np.uint8))
        if not frame.isfinite().all():
            return "preprocessing is not finite"
        with torch.no_grad():
            loaded.net(frame[None, :, None].repeat(1, 1, 4, 1, 1))
        return None

    return make, read


def pictures(_: Path) -> tuple[Maker, Reader]:
    """Folders of pictures, of which one is damaged."""

    def make(rng: random.Random, deep: bool) -> Made:
        end, data = material.picture(rng)
        return f"picture{end}", data if deep else material.damaged(data, rng)

    return make, _frames


def videos(folder: Path) -> tuple[Maker, Reader]:
    """Videos and GIFs, all frames of them."""
    clips = material.videos(folder)

    def make(rng: random.Random, deep: bool) -> Made:
        end, data = rng.choice(clips)
        return end, (material.damaged_late if deep else material.damaged)(data, rng)

    return make, _frames


def _frames(path: Path) -> str | None:
    with open_video(path) as video:
        times = [frame.seconds for frame in video]
    if not times:
        return "no frames"
    with open_video(path) as video:
        picked = [frame.index for frame in video.frames_at(sorted({0, len(times) - 1}))]
        told = video.times()
    if picked != sorted({0, len(times) - 1}) or len(told) != len(times) or video.info.width < 1:
        return "frames by number"
    return None if np.isfinite(times).all() and (np.diff(times) > 0).all() else "times of frames"


KINDS: dict[str, Callable[[Path], tuple[Maker, Reader]]] = {
    each.__name__: each
    for each in (text, npz, checkpoints, pictures, videos, options, layouts, commands, drives, recipes)
}
