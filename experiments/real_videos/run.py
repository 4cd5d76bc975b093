"""Explain every real and every nasty video, and check that the overlay is the source's own, frame for frame."""

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path

import torch

import vidcam
from vidcam.media import open_video

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("VIDCAM_TEST_DATA", ROOT.parent / "shared" / "data"))
FOLDERS = ("hmdb51/videos/*", "ucf101/Diving", "kinetics400", "nasty")
MODELS = ("r2plus1d_18", "mvit_v2_s")


def main() -> None:
    """Run all, print a line each, and write the results beside this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("results.json"))
    parser.add_argument("--match", default="", help="only files whose name holds this")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    videos = [path for pattern in FOLDERS for path in sorted(DATA.glob(f"{pattern}/*")) if options.match in path.name]
    ucf = [path for path in videos if path.parent.name == "Diving"][1:]
    rows = []
    for name in options.models:
        model = vidcam.load_model(name, weights=None)
        for video in (video for video in videos if video not in ucf):
            rows.append({"model": name, "video": str(video.relative_to(DATA)), **check(model, video)})
            print(*rows[-1].values(), sep="  ", flush=True)
    options.output.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


def check(model: vidcam.Model, video: Path) -> dict[str, object]:
    """Explain and render one video; tell whether frames, size and duration are the source's."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        overlay = Path(folder) / "overlay.mp4"
        try:
            explanation = vidcam.explain(model, video, target=0)
        except vidcam.VidcamError as error:
            return {"result": "refused", "why": str(error).replace(str(DATA), "...")}
        notes = vidcam.render(explanation, overlay)
        before, after = facts(video), facts(overlay)
    even = tuple(side + side % 2 for side in before[1])
    said = any("even" in note or "pad" in note for note in notes)
    same = {
        "frames": before[0] == after[0],
        "size": after[1] == before[1] or (after[1] == even and said),
        "duration": abs(before[2] - after[2]) < 2e-3,
    }
    return {
        "result": "same" if all(same.values()) else "differs",
        **{name: f"{a} -> {b}" for name, a, b in zip(same, before, after, strict=True)},
        "seconds": round(time.perf_counter() - started, 1),
    }


def facts(path: Path) -> tuple[int, tuple[int, int], float]:
    """Decode all of a video: number of frames, size, seconds from the first frame to the end of the last."""
    with open_video(path) as video:
        times = [frame.seconds for frame in video]
        info = video.info
    return len(times), (info.width, info.height), round(times[-1] - times[0] + float(1 / info.rate), 4)


if __name__ == "__main__":
    main()
