"""Measure how fast the backends read, and what the H.264 presets cost; prints the tables of results.md.

python experiments/readers/run.py ../shared/data/kinetics400/*.mp4
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from vidcam.media import BACKENDS, Video, VideoWriter, open_video
from vidcam.media.formats import CODECS

RUNS = 5
SPREAD = 16  # single frames asked for, spread evenly
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium")


def stream(video: Video) -> int:
    return sum(1 for _ in video)


def spread(video: Video) -> int:
    last = (video.info.frame_count or 2) - 2
    return len(video.frames_at([round(i * last / (SPREAD - 1)) for i in range(SPREAD)]))


def seconds(path: Path, backend: str, access: str) -> float:
    """Time opening and reading; the backends take turns, so that a busy machine hurts all alike."""
    start = perf_counter()
    with open_video(path, backend=backend) as video:
        (stream if access == "stream" else spread)(video)
    return perf_counter() - start


def compare(path: Path) -> None:
    for access in ("stream", "random"):
        times: dict[str, list[float]] = {name: [] for name in BACKENDS}
        for _ in range(RUNS + 1):
            for name in BACKENDS:
                times[name].append(seconds(path, name, access))
        found = {name: median(values[1:]) for name, values in times.items()}  # the first run imports
        cells = (f"{value:.3f} ({value / found['pyav']:.2f})" for value in found.values())
        print(f"| {path.name} | {access} | {' | '.join(cells)} |")


def presets(path: Path) -> None:
    frames = list(open_video(path))
    info = open_video(path).info
    for preset in PRESETS:
        CODECS["h264"].options["preset"] = preset
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "clip.mp4"
            start = perf_counter()
            with VideoWriter(target, width=info.width, height=info.height, rate=info.rate) as writer:
                for frame in frames:
                    writer.write(frame.pixels)
            spent = perf_counter() - start
            error = [
                np.square(a.pixels - b.pixels.astype(float)).mean()
                for a, b in zip(frames, open_video(target), strict=True)
            ]
            decibels = 10 * np.log10(255**2 / np.mean(error))
            print(f"| {preset} | {1000 * spent / len(frames):.1f} | {target.stat().st_size // 1024} | {decibels:.1f} |")


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:]]
    print(f"| file | access | {' | '.join(BACKENDS)} |\n| --- | --- |{' --- |' * len(BACKENDS)}")
    for file in files:
        compare(file)
    print("\n| preset | ms per frame | KiB | PSNR dB |\n| --- | --- | --- | --- |")
    presets(files[0])
