"""The commands that explain videos, draw an explanation again, and rank a video's frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from vidcam.cli.console import one_line, progress_bar, say, show, warnings_in_one_line
from vidcam.cli.network import Camera, NetworkFiles, PublishedNetwork
from vidcam.cli.options import Config, Writing
from vidcam.cli.presence import check_any_there, check_there
from vidcam.errors import OptionError, VidcamError
from vidcam.explaining.choices import Choices, Comparison
from vidcam.options import Options, option
from vidcam.rendering.look import Audio, Look

if TYPE_CHECKING:
    from vidcam.explaining.explanation import Explanation
    from vidcam.models.model import Model

OUTPUT = Path("vidcam-out")
RANKED = ("ranking.json", "ranking.png")
FILES = ("checkpoint", "labels", "pose", "disp")
"""Options whose files run.json names from the root, so that a run is repeated from anywhere."""
WHAT = "What is explained"


@dataclass(frozen=True)
class IntoFolder(Writing):
    """Where the files go."""

    output: Path | None = option("Default: vidcam-out/NAME.", None, metavar="DIR")


@dataclass(frozen=True)
class AskedScores(Options):
    """Which scores are explained."""

    panel: ClassVar[str] = WHAT

    target: Sequence[str] = option(
        "Class, or score of a regressor, repeatable; NAME@SECONDS at a time; default: the likeliest.",
        (),
        metavar="NAME|INDEX",
    )
    classes: int = option("Without a target, how many of the likeliest classes.", 1, least=1, metavar="K")
    signed: bool = option("Of a regressor: show what lowers the score too.", False, names=("--signed",))


def explain(
    context: typer.Context,
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Video files, GIFs or folders of frames.")],
    network: PublishedNetwork,
    files: NetworkFiles,
    camera: Camera,
    choices: Choices,
    place: IntoFolder,
    asked: AskedScores,
    config: Config = None,
) -> int:
    """Explain videos: which frames and regions speak for a class, or move the output of a regressor.

    Writes explanation.npz, overlay.mp4, frames.png, timeline.png and run.json; into DIR for one video, into
    DIR/NAME for each of several. A network that tells motion or depth gives drive.mp4 too: frame, heat, depth and the
    way so far. Its targets are loss, tx, ty, tz, rx, ry, rz, speed and turn.

    Examples:

      vidcam explain clip.avi --model r2plus1d_18

      vidcam explain clip.avi --target wave --model r2plus1d_18 --checkpoint hmdb51.safetensors --labels hmdb51.txt

      vidcam explain *.mp4 --model mvit_v2_s --output explained --json

      vidcam explain dataset/sequences/09 --model sfmlearner --pose pose.pth.tar --disp disp.pth.tar --target turn
    """
    if "" in videos:
        raise OptionError("the name of a video is empty")
    check_any_there(videos)
    check_there(network.checkpoint, network.labels, *files.arguments().values())
    with warnings_in_one_line():
        from vidcam.media.files import check_free
        from vidcam.rendering.outputs import names

        folders = _folders(videos, place.output)
        for folder in folders:
            check_free(folder, names(), force=place.force)
        asked = _typed_first(context, asked)
        options = _repeatable(context.params | asked.arguments())
        model, failed = network.load(files.arguments()), 0
        for folder in folders:
            check_free(folder, names(model.told), force=place.force)
        for video, folder in zip(videos, folders, strict=True):
            try:
                explanation = _explain(model, video, camera, asked, choices)
                of = video if len(videos) > 1 else None
                facts = _write(explanation, video, folder, options=options, force=place.force, of=of)
            except (VidcamError, OSError) as error:
                if len(videos) == 1:
                    raise
                say(f"error: {video}: {one_line(error)}")
                facts, failed = {"video": video, "error": one_line(error)}, failed + 1
            show(facts, as_json=place.as_json)
    return 1 if failed else 0


def _typed_first(context: typer.Context, asked: AskedScores) -> AskedScores:
    """Let typed targets stand for a file's number of classes, and the other way around."""
    typed = [name for name in ("target", "classes") if str(context.get_parameter_source(name)).endswith("COMMANDLINE")]
    if typed == ["target"]:
        return replace(asked, classes=1)
    return replace(asked, target=()) if typed == ["classes"] else asked


def _explain(model: "Model", video: str, camera: Camera, asked: AskedScores, choices: Choices) -> "Explanation":
    from vidcam import explain

    wanted = {**asked.arguments(), "target": list(asked.target)}
    with progress_bar("explaining") as progress:
        source = model.open(video, **camera.arguments())
        return explain(model, source, progress=progress, **wanted, **choices.arguments())


def _write(
    explanation: "Explanation", video: str, folder: Path, *, options: Mapping[str, Any], force: bool, of: str | None
) -> dict[str, Any]:
    """Write the files of a run, say what a reader must know, and return the facts."""
    from vidcam.rendering.outputs import describe, write_outputs

    kept = {**options, "videos": [str(Path(video).resolve())]}
    with progress_bar("drawing") as progress:
        outputs, said = write_outputs(explanation, folder, options=kept, force=force, progress=progress)
    _note(*explanation.notes, *said, of=of)
    return describe(explanation, video, outputs)


def _repeatable(typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed as `--config` takes it again."""
    kept = {name: value for name, value in typed.items() if name not in ("config", "as_json", "force", "output")}
    return kept | {name: str(Path(kept[name]).resolve()) for name in FILES if kept[name]}


def rank(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video file, GIF or folder of frames.")],
    network: PublishedNetwork,
    comparison: Comparison,
    choices: Choices,
    place: IntoFolder,
    target: Annotated[
        str | None, typer.Option(metavar="NAME|INDEX", help="Class; default: the likeliest.", rich_help_panel=WHAT)
    ] = None,
    k: Annotated[
        int, typer.Option("--top", min=1, help="Frames to list and to draw.", rich_help_panel=Comparison.panel)
    ] = 8,
) -> None:
    """Rank a video's frames, say how far the rankings agree, and what the top frames alone are worth.

    Writes ranking.json and ranking.png, the top frames with their heat.

    Examples:

      vidcam rank clip.avi --checkpoint trained/checkpoint.safetensors --by attention

      vidcam rank clip.avi --model r2plus1d_18 --method hires_cam --when layer3 --top 12
    """
    check_there(video, network.checkpoint, network.labels)
    with warnings_in_one_line(), progress_bar("ranking") as progress:
        from vidcam.explaining.ranking import rank as rank_frames
        from vidcam.media.files import staged
        from vidcam.rendering.sheet import rank_sheet

        (folder,) = _folders([video], place.output)
        asked = {**comparison.arguments(), **choices.arguments(), "target": target, "progress": progress}
        with staged(folder, RANKED, force=place.force) as part:  # of two with one folder, one says so at once
            ranking = rank_frames(network.load(), video, **asked)
            ranking.save(part / RANKED[0])
            rank_sheet(ranking, part / RANKED[1], k=k)
    _note(*ranking.notes, *ranking.explanation.notes)
    facts = {
        "video": video,
        "target": ranking.explanation.target_name,
        "by": ranking.by,
        "frames": [frame._asdict() for frame in ranking.top(k)],
        "agreements": ranking.as_dict()["agreements"],
        "kept": ranking.kept.as_dict(),
        "verdict": ranking.verdict,
        "outputs": [str(folder / name) for name in RANKED],
    }
    show(facts, as_json=place.as_json)


def render(
    explanation: Annotated[Path, typer.Argument(metavar="EXPLANATION.npz", help="What `vidcam explain` wrote.")],
    look: Look,
    sound: Audio,
    writing: Writing,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="A video: .mp4 .mov .mkv .webm .gif.", rich_help_panel="Output")
    ] = Path("overlay.mp4"),
    source: Annotated[Path | None, typer.Option(help="The video, if it is no longer where it was.")] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAME|INDEX", help="Another score that was explained.", rich_help_panel=WHAT),
    ] = None,
) -> None:
    """Draw an explanation again, in other colors, or another of its scores, without running the network."""
    check_there(explanation, source)
    from vidcam import Explanation
    from vidcam.rendering import render as draw

    loaded, how = Explanation.load(explanation), {**look.arguments(), **sound.arguments()}
    shown = loaded if target is None else loaded.of(target)
    with progress_bar("drawing") as progress:
        said = draw(shown, output, source=source, force=writing.force, progress=progress, **how)
    _note(*shown.notes, *said)
    show({"outputs": [str(output)], "frames": len(shown.heat), "target": shown.target_name}, as_json=writing.as_json)


def _note(*notes: str, of: str | None = None) -> None:
    for note in notes:
        say(f"note: {note}" if of is None else f"note: {of}: {note}")


def _folders(videos: Sequence[str], output: Path | None) -> list[Path]:
    """Choose a folder per video: `output` itself for one; else one by the video's name, numbered where names repeat."""
    if output is not None and len(videos) == 1:
        return [output]
    folders: list[Path] = []
    for path in map(Path, videos):
        inside = path.suffix and path.stem.strip(".")  # the stem of "...mp4" is "..", the folder above
        name = path.stem if inside else path.resolve().name
        names = chain([name], (f"{name}-{number}" for number in count(2)))
        folders.append(next(folder for each in names if (folder := (output or OUTPUT) / each) not in folders))
    return folders
