"""The command line: parse, one call into the library, print. Importing this imports no torch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vidcam.cli import manifest as manifest_cli
from vidcam.cli import odometry as odometry_cli
from vidcam.cli import odometry_training as odometry_training_cli
from vidcam.cli import training as training_cli
from vidcam.cli.configuration import configure
from vidcam.cli.console import progress_bar, say, show, table, warnings_in_one_line

app = typer.Typer(
    name="vidcam",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which frames and which regions of a video made the network say what it said.",
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, one object per line.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files of an earlier run.")]


def _version(wanted: bool) -> None:
    if wanted:
        from vidcam import __version__

        typer.echo(f"vidcam {__version__}")
        raise typer.Exit()


@app.callback()
def _vidcam(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Which frames and which regions of a video made the network say what it said."""


@app.command()
def explain(
    context: typer.Context,
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Video files, GIFs or folders of frames.")],
    model: Annotated[
        str | None, typer.Option(help="A name of `vidcam models`; default: the checkpoint's, or r2plus1d_18.")
    ] = None,
    weights: Annotated[str, typer.Option(metavar="TAG|none", help="Weights to download; none: random.")] = "DEFAULT",
    checkpoint: Annotated[Path | None, typer.Option(help="Your own weights: state dict or safetensors.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Class names: one per line, or JSON.")] = None,
    pose: Annotated[Path | None, typer.Option(help="Of sfmlearner: weights of the pose network.")] = None,
    disp: Annotated[Path | None, typer.Option(help="Of sfmlearner: weights of the depth network.")] = None,
    intrinsics: Annotated[
        str | None, typer.Option(metavar="FX,FY,CX,CY|FILE", help="Of the camera, where its folder has none.")
    ] = None,
    camera: Annotated[str | None, typer.Option(metavar="image_2", help="Of a KITTI sequence.")] = None,
    method: Annotated[str, typer.Option(help="A name that `vidcam methods` lists.")] = "grad_cam",
    target: Annotated[
        str | None, typer.Option(metavar="NAME|INDEX", help="Class, or score of a regressor; default: the likeliest.")
    ] = None,
    signed: Annotated[bool, typer.Option("--signed", help="Of a regressor: show what lowers the score too.")] = False,
    layer: Annotated[str | None, typer.Option(help="Where to look; see `vidcam models NAME`.")] = None,
    pooling: Annotated[str, typer.Option(metavar="slot|clip", help="Channel weights per slot or clip.")] = "slot",
    when: Annotated[str, typer.Option(metavar="LAYER|input|none", help="The layer that tells when.")] = "auto",
    placement: Annotated[str, typer.Option(metavar="TIME,SPACE", help="How slots and cells are laid.")] = (
        "linear,linear"
    ),
    hop: Annotated[float | None, typer.Option(metavar="SECONDS", help="Between windows; default: half one.")] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")] = "auto",
    backend: Annotated[str, typer.Option(help="Reader: auto, pyav, torchcodec or decord.")] = "auto",
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: vidcam-out/NAME.")] = None,
    force: Force = False,
    as_json: Json = False,
    config: Annotated[
        Path | None, typer.Option(is_eager=True, callback=configure, help="Repeat the run of this run.json.")
    ] = None,
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
    from vidcam.cli.batch import explain_all

    names = [p.name for p in context.command.params if p.name not in ("config", "as_json", "force", "output")]
    options = {name: context.params[name] for name in names if name is not None}
    options |= {key: str(value) for key, value in options.items() if isinstance(value, Path)}
    with warnings_in_one_line():
        results = explain_all(options, output=output, force=force, progress=progress_bar, say=say)
        failed = 0
        for facts in results:
            failed += "error" in facts
            show(facts, as_json=as_json)
    return 1 if failed else 0


@app.command()
def render(
    explanation: Annotated[Path, typer.Argument(metavar="EXPLANATION.npz", help="What `vidcam explain` wrote.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="A video: .mp4 .mov .mkv .webm .gif.")] = (
        Path("overlay.mp4")
    ),
    source: Annotated[Path | None, typer.Option(help="The video, if it is no longer where it was.")] = None,
    layout: Annotated[
        str, typer.Option(metavar="overlay|side_by_side", help="Alone, or beside the source.")
    ] = "overlay",
    colormap: Annotated[str | None, typer.Option(help="Any of matplotlib's; default: turbo, signed: bwr.")] = None,
    opacity: Annotated[float, typer.Option(help="Of the hottest pixel, 0 to 1.")] = 0.6,
    scale: Annotated[str, typer.Option(metavar="video|frame", help="One scale for all frames, or each its own.")] = (
        "video"
    ),
    bar: Annotated[bool, typer.Option(help="A strip with probability and importance over time.")] = False,
    colorbar: Annotated[bool, typer.Option(help="A strip with the color scale.")] = False,
    audio: Annotated[bool, typer.Option(help="Carry the source's sound over.")] = True,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Draw an explanation again, in other colors, without running the network."""
    from vidcam import Explanation
    from vidcam.rendering import render as draw

    loaded = Explanation.load(explanation)
    look: dict[str, Any] = {"layout": layout, "colormap": colormap, "opacity": opacity, "scale": scale}
    with progress_bar("drawing") as progress:
        notes = draw(
            loaded,
            output,
            source=source,
            bar=bar,
            colorbar=colorbar,
            audio=audio,
            force=force,
            progress=progress,
            **look,
        )
    for note in (*loaded.notes, *notes):
        say(f"note: {note}")
    show({"outputs": [str(output)], "frames": len(loaded.heat), "target": loaded.target_name}, as_json=as_json)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's layers.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, or the layers of one that can be explained: grid, stride and extent."""
    from vidcam.models.inspection import list_layers, list_models

    with warnings_in_one_line():
        if name is None:
            table(list_models(), as_json=as_json)
        else:
            with progress_bar("measuring") as progress:
                rows = list_layers(name, progress=progress)
            table(rows, as_json=as_json)


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods."""
    from vidcam.attribution.methods import METHODS

    table([{"method": name, "what it does": text} for name, text in METHODS.items()], as_json=as_json)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the video and pictures go.")] = Path("vidcam-demo"),
    seed: Annotated[int | None, typer.Option(min=0, help="Of the clip; each gives another one.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a clip whose truth is known, explain it, and say how well the heat hits. No download, no GPU."""
    from vidcam.cli.demonstration import SEED, demonstrate

    with progress_bar("demo") as progress:
        facts = demonstrate(output, seed=SEED if seed is None else seed, force=force, progress=progress)
    show(facts, as_json=as_json)


manifest_cli.register(app)
training_cli.register(app)
odometry_cli.register(app)
odometry_training_cli.register(app)
