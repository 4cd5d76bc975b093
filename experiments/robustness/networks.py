"""Options of networks, given or in a checkpoint's description, and checkpoints of other networks and layouts."""

import io
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import material
import numpy as np
import torch
from material import Made, Maker
from safetensors.torch import save

from vidcam.models.build import load_model
from vidcam.models.checkpoint import write_checkpoint

SMALL: dict[str, dict[str, Any]] = {
    "r2plus1d_mini": {"classes": 3, "frames": 4, "frame_rate": 8.0, "size": [16, 16], "seed": 1},
    "cnn_lstm": {"classes": 3, "backbone": "squeezenet1_1", "hidden": 8, "layers": 1, "dropout": 0.1, "frames": 2}
    | {"cell": "gru", "bidirectional": True, "freeze": False, "backbone_input": "minus_128", "size": 32},
    "cnn_lstm_attention": {"backbone": "squeezenet1_1", "hidden": 4, "frames": 2, "frame_rate": 5, "size": [32, 32]}
    | {"backbone_input": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}, "backbone_weights": None},
    "sfmlearner": {"references": 2, "explainability": True, "size": [64, 64], "rotation": "quat", "seed": 2},
    "demo": {},
}
STRANGE = (*material.VALUES, "lstm", "imagenet", "quat", 2**31, -0.0, 1e-30, [[16, 16]], {"mean": [1], "std": [0]})
DESCRIBED = ("r2plus1d_mini", "cnn_lstm", "cnn_lstm_attention")


def options(_: Path) -> tuple[Maker, Any]:
    """The options of each network, of which one or two are nonsense."""

    def make(rng: random.Random, deep: bool) -> Made:
        name = rng.choice(sorted(SMALL))
        given: dict[str, Any] = dict(SMALL[name])
        for _ in range(rng.choice((1, 1, 2)) if deep else 1):
            key = rng.choice([*sorted(given), "size", "frames", "classes", "width"])
            told = given.get(key)
            given[key] = material.changed_value(told, rng) if isinstance(told, dict | list) else rng.choice(STRANGE)
        text = json.dumps({"model": name, "options": given})
        return ".json", text.encode() if deep else material.reworded(text, rng)

    def read(path: Path) -> str | None:
        told = json.loads(path.read_text(errors="replace"), strict=False) if _is_json(path) else {}
        if not isinstance(told, dict) or not isinstance(told.get("options"), Mapping):
            return None
        model = load_model(told.get("model"), weights=None, options=told["options"])
        return None if model.frames > 64 or side(model) > 256 else runs(model)

    return make, read


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def side(model: Any) -> int:
    """Return the longest side of a network's pictures; of larger ones a run takes long."""
    resize = model.preprocessing.resize
    return int(np.max(resize)) if resize is not None else 0


def runs(model: Any) -> str | None:
    """Feed a model with a gray clip; what it says must be finite."""
    frames = [model.prepare(np.full((20, 30, 3), 100, np.uint8)) for _ in range(model.frames)]
    with torch.no_grad():
        output = model.net(model.batch([frames]))
    parts = output.values() if isinstance(output, dict) else output
    first = output if isinstance(output, torch.Tensor) else next(iter(parts))
    return None if torch.isfinite(first).all() else "what a network says is not finite"


def layouts(folder: Path) -> tuple[Maker, Any]:
    """Checkpoints of several networks, in the layouts that training code leaves, damaged or changed."""
    sound: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for name in DESCRIBED:
        model = load_model(name, weights=None, options=SMALL[name])
        data = write_checkpoint(model, folder / f"{name}.safetensors", force=True).read_bytes()
        size = int.from_bytes(data[:8], "little")
        told = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["vidcam"])
        sound[name] = {key: value.half().float() for key, value in model.net.state_dict().items()}, told

    def make(rng: random.Random, deep: bool) -> Made:
        name = rng.choice(DESCRIBED)
        state, told = sound[name]
        if name != "r2plus1d_mini" and rng.random() < 0.5:
            told = {**told, "options": {**told["options"], rng.choice(sorted(told["options"])): rng.choice(STRANGE)}}
        if rng.random() < 0.5:
            changed = material.changed_value(told, rng) if deep else told
            data = save({k: v.contiguous() for k, v in state.items()}, metadata={"vidcam": json.dumps(changed)})
            size = 8 + int.from_bytes(data[:8], "little")
            return ".safetensors", data if deep else material.damaged(data[:size], rng) + data[size:]
        held = io.BytesIO()
        torch.save(_nested(state, rng), held)
        return f".{name}.pth", held.getvalue() if deep else material.damaged(held.getvalue(), rng)

    def read(path: Path) -> str | None:
        if path.suffix == ".safetensors":
            model = load_model(None, checkpoint=path)
        else:
            name = path.name.split(".")[1]
            model = load_model(name, checkpoint=path, options=SMALL[name])
        if any(not parameter.isfinite().all() for parameter in model.net.parameters()):
            return "weights are not finite"
        return None if model.frames > 64 or side(model) > 256 else runs(model)

    return make, read


def _nested(state: dict[str, Any], rng: random.Random) -> Any:
    """Put weights where training code puts them, with what it leaves beside them."""
    prefix = rng.choice(("", "module.", "net.", "net.backbone.", "_orig_mod.module."))
    held: Any = {prefix + key: value for key, value in state.items()}
    if rng.random() < 0.5:
        key = rng.choice(sorted(held))
        held[key] = rng.choice((None, 3, "x", [held[key]], held[key][None], held[key].to(torch.complex64), {}))
    for key in rng.sample(("state_dict", "model", "ema", "weights", "model_state", "net", "params"), rng.randrange(3)):
        held = {key: held, "epoch": 3, "optimizer": {"state": {}, "lr": 0.1}, "best": rng.choice(STRANGE[:8])}
    return rng.choice((held, held, held, [held], (held, 3), state[min(state)], None, 3, {"state_dict": None}))
