"""Wrap every network of the zoo, plant a score on one token, and see whether the peak is there."""

import argparse
import json
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from zoo import ZOO

import vidcam
from vidcam import Preprocessing
from vidcam.attribution.containers import first_tensor
from vidcam.errors import VidcamError
from vidcam.media.writer import VideoWriter


@dataclass(frozen=True)
class Case:
    """How a user wraps a network, and where its tokens lie, told independently of what vidcam finds."""

    said: str = ""
    """The arguments of `wrap` beside the network."""
    order: str = "thw"
    """How cells run in the layer's output: "thw" or "hwt", or "channels" where axes are apart."""
    prefix: int = 0
    """Tokens in front that stand for no place."""


def preset(name: str, frames: int) -> str:
    return f"processor=torchvision.models.get_model_weights({name!r}).DEFAULT.transforms(), frames={frames}"


APART = "channels"
SIZED = "frames=8, preprocessing=Preprocessing((64, 64))"
CASES: dict[str, Case] = {
    "VideoMAE": Case(),
    "TimeSformer": Case(order="hwt", prefix=1),
    "ViViT": Case(prefix=1),
    "V-JEPA 2": Case(),
    "X-CLIP's vision part": Case("output='pooler_output'", prefix=1),
    "Hiera": Case(order="hiera"),
    "DINOv2 with registers": Case(prefix=5),
    "timm resnet18": Case(order=APART),
    "timm convnext_atto": Case(order=APART),
    "timm vit_tiny": Case(prefix=1),
    "timm hiera_tiny": Case(order="hiera"),
    "slow_r50": Case(SIZED, APART),
    "slowfast_r50": Case("frames=16, preprocessing=Preprocessing((64, 64))", APART),
    "x3d": Case(SIZED, APART),
    "csn": Case(SIZED, APART),
    "mvit (pytorchvideo)": Case(prefix=1),
    "I3D": Case("frames=8, preprocessing=Preprocessing((64, 64))", APART),
    "C3D": Case("frames=16, preprocessing=Preprocessing((112, 112))", APART),
    "TSM": Case("preprocessing=Preprocessing((64, 64))", APART),
    "ConvLSTM": Case(SIZED, APART),
    "CNN-GRU": Case(SIZED, APART),
    "CNN-BiLSTM": Case(SIZED, APART),
    **{name: Case(preset(name, 16), APART) for name in ("r3d_18", "mc3_18", "r2plus1d_18", "s3d")},
    **{name: Case(preset(name, 16), prefix=1) for name in ("mvit_v1_b", "mvit_v2_s")},
    **{name: Case(preset(name, 16), APART) for name in ("swin3d_t", "swin3d_s", "swin3d_b")},
}


@dataclass
class Planted:
    """Hooks that make class 0 the energy of one token of a layer, until they are removed."""

    net: nn.Module
    layer: str
    pick: Callable[[list[Tensor]], Tensor]
    seen: list[Tensor] = field(default_factory=list)

    def __enter__(self) -> "Planted":
        self.hooks = [self.net.register_forward_pre_hook(self._begin), self.net.register_forward_hook(self._answer)]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _begin(self, *_: object) -> None:
        """Look at the layer from now on, after whoever else looks at it, whose output may be another tensor."""
        self.seen.clear()
        self.last = self.net.get_submodule(self.layer).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _args: Any, output: Any) -> None:
        tensor = first_tensor(output)
        assert tensor is not None
        self.seen.append(tensor)

    def _answer(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        self.last.remove()
        planted = self.pick(self.seen).square().sum()
        if isinstance(output, Tensor):
            return torch.cat([planted.reshape(1, 1), output[:, 1:]], 1)
        name = "logits" if "logits" in output else "pooler_output"
        output[name] = torch.cat([planted.reshape(1, 1), output[name][:, 1:]], 1)
        return output


def picker(case: Case, grid: tuple[int, ...], cell: tuple[int, int, int]) -> Callable[[list[Tensor]], Tensor]:
    """Return what picks the token of a cell (t, h, w) out of a layer's outputs, by the architecture alone."""
    (nt, nh, nw), (t, h, w) = grid, cell

    def pick(seen: list[Tensor]) -> Tensor:
        if len(seen) > 1:  # called once for each frame
            return seen[t][0, :, h, w]
        tensor = seen[0]
        if case.order == APART:
            if tensor.ndim == 5:
                return tensor[0, :, t, h, w] if tensor.shape[2:] == grid else tensor[0, t, h, w]
            return tensor[t, :, h, w] if tensor.shape[2:] == (nh, nw) else tensor[t, h, w]
        index = {"thw": (t * nh + h) * nw + w, "hwt": (h * nw + w) * nt + t, "hiera": hiera(nh, h, w)}[case.order]
        return tensor[0, case.prefix + index] if tensor.ndim == 3 else tensor.flatten(1, -2)[0, case.prefix + index]

    return pick


def hiera(side: int, h: int, w: int, strides: int = 3) -> int:
    """Return where a cell lies in Hiera's order: the position inside units first, unit by unit, the coarsest last."""
    index, size, steps = 0, side, []
    while size % 2 == 0 and len(steps) < strides and size > 1:
        steps.append((h % 2, w % 2))
        h, w, size = h // 2, w // 2, size // 2
    for dh, dw in reversed(steps):
        index = index * 4 + dh * 2 + dw
    return index * size * size + h * size + w


def clip(path: Path, source: Path, frames: int) -> Path:
    """Write the first frames of a real clip, a window of the network's long."""
    with vidcam.open_video(source) as video:
        taken = [frame.pixels for _, frame in zip(range(frames), video, strict=False)]
        height, width = taken[0].shape[:2]
        with VideoWriter(path, width=width, height=height, rate=video.info.rate) as writer:
            for pixels in taken:
                writer.write(pixels)
    return path


def run(name: str, source: Path, folder: Path) -> dict[str, Any]:
    """Wrap, plant, explain, render; return the row of the table."""
    torch.manual_seed(0)
    case, net = CASES[name], ZOO[name]().eval()
    row: dict[str, Any] = {"network": name, "lines": 1, "parameters": sum(p.numel() for p in net.parameters())}
    names = {"vidcam": vidcam, "net": net, "torchvision": torchvision, "Preprocessing": Preprocessing}
    calls = [0]
    count = net.register_forward_pre_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    started, cpu = time.perf_counter(), time.process_time()
    try:
        model = eval(f"vidcam.wrap(net, {case.said})", names)
    except VidcamError as error:
        return row | {"refused": str(error), "forwards": calls[0]}
    finally:
        count.remove()
    row |= {
        "said": case.said,
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "forwards": calls[0],
        "layer": model.layer,
        "concluded": list(model.concluded),
    }
    short = clip(folder / f"{len(list(folder.iterdir()))}.mp4", source, model.frames)
    first = vidcam.explain(model, short, target=0, method="hires_cam", when=None)
    grid = (slots(model), *first.heat.shape[1:])
    cell = (grid[0] * 2 // 3, grid[1] // 3, grid[2] * 2 // 3)
    with Planted(net, model.layer, picker(case, grid, cell)):
        explanation = vidcam.explain(model, short, target=0, method="hires_cam", when=None)
    return row | judged(explanation, model, grid, cell, folder)


def slots(model: vidcam.Model) -> int:
    """Read the number of slots off what was concluded: the first number of the layer's cells."""
    line = next(line for line in model.concluded if line.startswith("layer"))
    sizes = re.search(r"((?:\d+x)+\d+) (?:cells|tokens)", line)[1].split("x")
    return int(sizes[0]) if len(sizes) == 3 else 1


def judged(explanation: Any, model: vidcam.Model, grid: tuple[int, ...], cell: tuple[int, ...], folder: Path) -> Any:
    """Say where the peak is and where it should be, in cells and slots."""
    heat = explanation.heat
    frame, h, w = np.unravel_index(heat.argmax(), heat.shape)
    slot = frame * grid[0] / len(heat)
    in_time = cell[0] - 0.5 <= slot <= cell[0] + 1.5 if grid[0] > 1 else True
    share = float(heat[:, cell[1], cell[2]].sum() / heat.sum())
    dense = explanation.dense(int(frame))
    y, x = np.unravel_index(dense.argmax(), dense.shape)
    left, top, right, bottom = explanation.region
    down, across = (y - top) / (bottom - top) * grid[1], (x - left) / (right - left) * grid[2]
    vidcam.render(explanation, folder / "overlay.mp4", force=True)
    return {
        "grid": list(grid),
        "planted": list(cell),
        "peak": [int(frame), int(h), int(w)],
        "right": bool(in_time and (h, w) == cell[1:]),
        "in_pixels": bool(abs(down - cell[1] - 0.5) <= 1 and abs(across - cell[2] - 0.5) <= 1),
        "share": round(share, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a real clip")
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--leave", nargs="*", default=(), help="networks that are left out")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ZOO:
            if given.only in name and name not in given.leave:
                rows.append(run(name, given.source, Path(folder)))
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "concluded"}), flush=True)
    right = [row for row in rows if row.get("right")]
    print(f"{len(right)} of {len(rows)} right, {sum('refused' in row for row in rows)} refused", file=sys.stderr)
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
