"""Videos with one model, one after the other: explained, or their frames ranked."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from vidcam.errors import OptionError, VidcamError, unknown
from vidcam.explaining.explain import explain
from vidcam.explaining.explanation import Explanation
from vidcam.explaining.ranking import rank
from vidcam.media.staging import check_free, staged
from vidcam.models.build import load_model
from vidcam.models.model import Model
from vidcam.rendering.outputs import NAMES, describe, write_outputs
from vidcam.rendering.ranked import rank_sheet

Shown = Callable[[int, int | None], None]
Progress = Callable[[str], AbstractContextManager[Shown]]
DEVICES = ("auto", "cpu", "cuda")
OUTPUT = Path("vidcam-out")
MODEL = "r2plus1d_18"
MOTION = "sfmlearner"
RANKED = ("ranking.json", "ranking.png")


def explain_all(
    options: dict[str, Any],
    *,
    output: Path | None,
    force: bool,
    progress: Progress,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Explain every video of `options["videos"]` and write its files; yield the facts of each.

    Args:
        options: those of `vidcam explain`, by name.
        output: the directory for one video, or for one folder per video.
        force: whether to replace files of earlier runs.
        progress: makes a progress display with a title.
        say: prints notes for people.

    Yields:
        What `describe` tells; for a video that failed, `video` and `error`.
    """
    videos = options["videos"]
    if "" in videos:
        raise OptionError("the name of a video is empty")
    folders = _folders(videos, output)
    for folder in folders:
        check_free(folder, NAMES, force=force)
    model = _model(options)
    for video, folder in zip(videos, folders, strict=True):
        try:
            yield _explain_one(model, video, folder, options, force=force, progress=progress, say=say)
        except (VidcamError, OSError) as error:
            if len(videos) == 1:
                raise
            say(f"error: {video}: {' '.join(str(error).split())}")
            yield {"video": video, "error": " ".join(str(error).split())}


def _explain_one(
    model: Model,
    video: str,
    folder: Path,
    options: dict[str, Any],
    *,
    force: bool,
    progress: Progress,
    say: Callable[[str], None],
) -> dict[str, Any]:
    with progress("explaining") as shown:
        explanation = _explanation(model, video, options, shown)
    with progress("drawing") as shown:
        files = {
            key: str(Path(options[key]).resolve())
            for key in ("checkpoint", "labels", "pose", "disp")
            if options.get(key)
        }
        kept = options | files | {"videos": [str(Path(video).resolve())]}
        outputs, said = write_outputs(explanation, folder, options=kept, force=force, progress=shown)
    for note in (*explanation.notes, *said):
        say(f"note: {note}")
    return describe(explanation, video, outputs)


def _explanation(model: Model, video: str, options: dict[str, Any], progress: Shown) -> Explanation:
    chosen: dict[str, Any] = {name: options[name] for name in ("method", "target", "layer", "pooling", "backend")}
    chosen |= {"placement": _placement(options["placement"]), "progress": progress}
    when = None if options["when"] == "none" else options["when"]
    source = model.open(video, **{name: options.get(name) for name in ("camera", "intrinsics")})
    signed = bool(options.get("signed"))
    return explain(model, source, when=when, hop_seconds=options["hop"], signed=signed, **chosen)


def rank_one(
    video: str,
    chosen: dict[str, Any],
    *,
    k: int,
    output: Path | None,
    force: bool,
    **options: Any,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Rank the frames of a video and write `ranking.json` and `ranking.png`; return the facts and the notes.

    Args:
        video: the source.
        chosen: model, weights, checkpoint, labels and device.
        k: frames to list and to draw.
        output: the directory; None takes one by the video's name.
        force: whether to replace files of an earlier run.
        options: those of `vidcam.explaining.ranking.rank`.
    """
    if k < 1:
        raise OptionError(f"--top must be at least 1; given {k}")
    folder = _folders([video], output)[0]
    check_free(folder, RANKED, force=force)
    ranking = rank(_model(chosen), video, **options)
    with staged(folder, RANKED, force=force) as part:
        ranking.save(part / RANKED[0])
        rank_sheet(ranking, part / RANKED[1], k=k)
    facts = {
        "video": video,
        "target": ranking.explanation.target_name,
        "by": ranking.by,
        "frames": [{"index": f.index, "seconds": f.seconds, "score": f.score} for f in ranking.top(k)],
        "agreements": ranking.as_dict()["agreements"],
        "kept": ranking.kept.as_dict(),
        "verdict": ranking.verdict,
        "outputs": [str(folder / name) for name in RANKED],
    }
    return facts, (*ranking.notes, *ranking.explanation.notes)


def _model(options: dict[str, Any]) -> Model:
    device = options["device"]
    kind, _, number = device.partition(":")
    if kind not in DEVICES or (number and (kind != "cuda" or not number.isdecimal())):
        raise OptionError(unknown("device", device, DEVICES))
    name = options["model"]
    if name is None and options["checkpoint"] is None:
        name = MOTION if options.get("pose") or options.get("disp") else MODEL
    return load_model(
        name,
        weights=options["weights"],
        checkpoint=options["checkpoint"],
        pose=options.get("pose"),
        disp=options.get("disp"),
        labels=options["labels"],
        device=device,
    )


def _placement(text: str) -> tuple[str, str]:
    time, comma, space = text.partition(",")
    if not comma:
        raise OptionError(f"--placement needs two names, TIME,SPACE; given {text!r}")
    return time.strip(), space.strip()


def _folders(videos: list[str], output: Path | None) -> list[Path]:
    """Choose a folder per video: `output` itself for one; else one by the video's name, numbered where names repeat."""
    if output is not None and len(videos) == 1:
        return [output]
    folders: list[Path] = []
    for video in videos:
        path = Path(video)
        folder = name = (output or OUTPUT) / (path.stem if path.suffix else path.resolve().name)
        number = 1
        while folder in folders:
            number += 1
            folder = name.with_name(f"{name.name}-{number}")
        folders.append(folder)
    return folders
