"""Train the demo's network on procedural clips, measure the shipped weights on fresh ones, write both."""

import argparse
import io
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import resize

from vidcam.data.synthetic import MOTIONS, motion_clip
from vidcam.models.mini import FRAMES, MEAN, RATE, SIZE, STD, WEIGHTS, MiniNet

Pixels = NDArray[np.uint8]

# Clip seeds: training from a million, evaluation from a thousand million; smaller ones are nobody's but the user's.
TRAINING, EVALUATION = 10**6, 10**9
BATCH, RATE_OF_LEARNING = 16, 4e-3
SIZES, SHARES = ((64, 48), (96, 72), (128, 96)), (0.5, 0.25, 0.25)
CERTAIN = 6  # frames of motion that decide the class


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    net, curve, seconds = train(options.steps, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    weights = options.output / WEIGHTS.name
    state = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, weights)
    net.load_state_dict(load_file(weights))  # what is measured is what is shipped, half precision and all
    results = {
        "fresh": evaluate(net, options.clips),
        "fresh_through_h264": evaluate(net, options.clips // 3, disturb=through_h264),
        "parameters": sum(p.numel() for p in net.parameters()),
        "weights_bytes": weights.stat().st_size,
        "training": {"steps": options.steps, "clips": options.steps * BATCH, "seconds": round(seconds), "loss": curve},
        "seed": options.seed,
        "threads": options.threads,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
    (options.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/demo_network"), help="folder (%(default)s)")
    parser.add_argument("--steps", type=int, default=1400, help=f"of {BATCH} clips (%(default)s)")
    parser.add_argument("--clips", type=int, default=600, help="fresh ones to evaluate on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="see only that it runs: 5 steps, 12 clips")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.clips = 5, 12
    return options


def train(steps: int, seed: int) -> tuple[MiniNet, list[float], float]:
    """Fit a fresh network; give it in eval mode, the loss averaged over each twentieth, and the seconds it took."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = MiniNet().to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, steps)
    losses, start = [], time.perf_counter()
    for step in range(steps):
        examples = [example(TRAINING * (seed + 1) + step * BATCH + i, rng) for i in range(BATCH)]
        x, y = (torch.stack(part) for part in zip(*examples, strict=True))
        x -= faded(step / steps) * x.mean(dim=2, keepdim=True)
        loss = functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1} loss {np.mean(losses[-50:]):.3f} {time.perf_counter() - start:.0f} s", flush=True)
    curve = [round(float(np.mean(part)), 4) for part in np.array_split(losses, min(20, steps))]
    return net.eval(), curve, time.perf_counter() - start


def faded(progress: float) -> float:
    """Take the still picture out of the clips at first, then let it come in until half-way: else nothing is learned."""
    return min(1.0, max(0.0, (0.5 - progress) / 0.4))


def example(seed: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Cut a window of a clip, maybe a longer one; the less of the motion it has, the less sure is its class."""
    width, height = SIZES[rng.choice(len(SIZES), p=SHARES)]
    frames = FRAMES * int(rng.choice([1, 2], p=[0.7, 0.3]))
    clip = motion_clip(seed, frames=frames, rate=RATE, width=width, height=height)
    first = int(rng.integers(frames - FRAMES + 1))
    window = slice(first, first + FRAMES)
    sure = min(1.0, clip.active[window].sum() / CERTAIN)
    target = torch.full((len(MOTIONS),), (1 - sure) / len(MOTIONS))
    target[clip.label] += sure
    return degrade(preprocess(clip.pixels[window]), rng), target


def degrade(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur some clips, vary contrast and light, add noise: what cameras and codecs do."""
    if rng.uniform() < 0.3:
        x = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
    return rng.uniform(0.8, 1.2) * x + rng.uniform(-0.3, 0.3) + rng.uniform(0, 0.12) * noise


def preprocess(pixels: Pixels) -> Tensor:
    """Turn `(T, H, W, 3)` frames at the network's rate into its input, `(3, T, 48, 64)`."""
    x = resize(torch.from_numpy(pixels).permute(0, 3, 1, 2), list(SIZE), antialias=True).float() / 255
    x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return x.transpose(0, 1)


@torch.inference_mode()
def evaluate(net: MiniNet, clips: int, *, disturb: Callable[[Pixels], Pixels] = lambda x: x) -> dict[str, object]:
    """Count hits on clips at 160 x 120 and 30 frames per second, every second of which the network sees."""
    confusion = np.zeros((len(MOTIONS), len(MOTIONS)), int)
    for i in range(clips):
        clip = motion_clip(EVALUATION + i, label=i % len(MOTIONS))
        x = preprocess(disturb(clip.pixels)[::2])
        confusion[clip.label, int(net(x[None]).argmax())] += 1
    hits = confusion.diagonal() / confusion.sum(axis=1)
    return {
        "clips": clips,
        "accuracy": round(float(confusion.trace() / clips), 4),
        "per_class": dict(zip(MOTIONS, hits.round(4).tolist(), strict=True)),
        "confusion_true_by_said": confusion.tolist(),
    }


def through_h264(pixels: Pixels) -> Pixels:
    """Encode with x264's default quality and decode."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=30, options={"crf": "23"})
        stream.height, stream.width, stream.pix_fmt = pixels.shape[1], pixels.shape[2], "yuv420p"
        for picture in pixels:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())
    file.seek(0)
    with av.open(file) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


if __name__ == "__main__":
    main()
