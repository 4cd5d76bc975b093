"""Measure whether loading clips keeps up with training on them; prints the tables of results.md.

python experiments/loading_speed/run.py WEIZMANN/manifest.csv OTHER/manifest.csv
"""

import sys
from itertools import islice
from pathlib import Path
from statistics import mean, median
from time import perf_counter

import torch
from torch import nn

from vidcam.data.augmentation import Augmentation
from vidcam.data.clips import ClipDataset, collate
from vidcam.data.manifest import Manifest, Row, read_manifest
from vidcam.data.preprocessing import Preprocessing
from vidcam.data.sampling import ClipSource
from vidcam.media import BACKENDS, open_video
from vidcam.models.mini import MiniNet
from vidcam.training.loading import loader

FRAMES, RATE, SIZE = 16, 12.5, (96, 112)
BATCH, BATCHES, RUNS, REPEATS = 8, 4, 3, 8
WORKERS = (0, 1, 2)


def loaded(manifest: Manifest, backend: str, workers: int) -> float:
    """Clips per second of the loader alone, once it runs; every video has been seen before."""
    rows = (manifest.rows * (1 + (BATCHES + 1) * BATCH // len(manifest.rows)))[: (BATCHES + 1) * BATCH]
    dataset = ClipDataset(
        rows,
        manifest.labels,
        frames=FRAMES,
        frame_rate=RATE,
        preprocessing=Preprocessing(resize=SIZE),
        augment=Augmentation(),
        backend=backend,
    )
    batches_of = loader(dataset, workers, collate, batch_size=BATCH)
    rates = []
    for epoch in range(RUNS + 1):
        dataset.set_epoch(epoch)
        batches = iter(batches_of)
        next(batches)
        start = perf_counter()
        rates.append(sum(len(batch["y"]) for batch in batches) / (perf_counter() - start))
    if dataset.broken():
        return float("nan")
    return median(rates[1:])


def trained(classes: int) -> float:
    """Clips per second of the training step of a small R(2+1)D alone."""
    net = MiniNet(classes)
    optimizer = torch.optim.AdamW(net.parameters())
    x, y = torch.rand(BATCH, 3, FRAMES, *SIZE), torch.zeros(BATCH, dtype=torch.int64)

    def step() -> float:
        start = perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        return BATCH / (perf_counter() - start)

    return median([step() for _ in range(2 * RUNS + 1)][1:])


def decoded(row: Row, way: str) -> float:
    """Milliseconds to get the frames of a clip from the middle of a video."""
    source = ClipSource(row)
    indices = source.uniform(0, 1, FRAMES, RATE)
    start = perf_counter()
    if way == "from the first frame on":
        with open_video(row.path) as video:
            _ = [frame for frame in islice(video, indices[-1] + 1) if frame.index in indices]
    else:
        (source if way == "seek, source kept" else ClipSource(row)).read(indices)
    return 1000 * (perf_counter() - start)


def main(files: list[Path]) -> None:
    print(f"| videos | workers | {' | '.join(BACKENDS)} |\n| --- | --- |{' --- |' * len(BACKENDS)}")
    manifests = {file: read_manifest(file) for file in files}
    for file, manifest in manifests.items():
        for workers in WORKERS:
            found = " | ".join(f"{loaded(manifest, backend, workers):.0f}" for backend in BACKENDS)
            print(f"| {file.stem} | {workers} | {found} |", flush=True)
    print(f"\n| step of a small R(2+1)D | {trained(10):.0f} |\n| --- | --- |")
    ways = ("from the first frame on", "seek", "seek, source kept")
    print(f"\n| ms per clip | {' | '.join(ways)} |\n| --- |{' --- |' * len(ways)}")
    for file, manifest in manifests.items():
        rows = manifest.rows[:20]
        times = [[min(decoded(row, way) for _ in range(REPEATS)) for row in rows] for way in ways]
        found = " | ".join(f"{mean(spent):.1f}" for spent in times)
        print(f"| {file.stem} | {found} |", flush=True)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
