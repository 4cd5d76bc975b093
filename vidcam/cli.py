"""The command line: parse, one call into the library, print. Importing this imports no torch."""

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

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


def _configure(context: typer.Context, path: Path | None) -> Path | None:
    """Take defaults from an earlier run's run.json; what is given on the command line wins."""
    if path is None:
        return None
    try:
        options = json.loads(path.read_text(encoding="utf-8"))["options"]
        unknown = options.keys() - {parameter.name for parameter in context.command.params}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise typer.BadParameter(f"{path} is no run.json of vidcam ({type(error).__name__})") from None
    if unknown:
        raise typer.BadParameter(f"{path} holds unknown options: {', '.join(sorted(unknown))}")
    context.default_map = {**(context.default_map or {}), **options}
    return path


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
    method: Annotated[str, typer.Option(help="A name that `vidcam methods` lists.")] = "grad_cam",
    target: Annotated[str | None, typer.Option(metavar="NAME|INDEX", help="Class; default: the likeliest.")] = None,
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
        Path | None, typer.Option(is_eager=True, callback=_configure, help="Repeat the run of this run.json.")
    ] = None,
) -> int:
    """Explain videos: which frames and regions speak for a class.

    Writes explanation.npz, overlay.mp4, frames.png, timeline.png and run.json; into DIR for one video, into
    DIR/NAME for each of several.

    Examples:

      vidcam explain clip.avi --model r2plus1d_18

      vidcam explain clip.avi --target wave --model r2plus1d_18 --checkpoint hmdb51.safetensors --labels hmdb51.txt

      vidcam explain *.mp4 --model mvit_v2_s --output explained --json
    """
    from vidcam.batch import explain_all

    names = [p.name for p in context.command.params if p.name not in ("config", "as_json", "force", "output")]
    options = {name: context.params[name] for name in names if name is not None}
    options |= {key: str(value) for key, value in options.items() if isinstance(value, Path)}
    with _warnings_in_one_line():
        results = explain_all(options, output=output, force=force, progress=_progress, say=_say)
        failed = 0
        for facts in results:
            failed += "error" in facts
            _print(facts, as_json=as_json)
    return 1 if failed else 0


@app.command()
def render(
    explanation: Annotated[Path, typer.Argument(metavar="EXPLANATION.npz", help="What `vidcam explain` wrote.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help=".mp4 .mov .mkv .webm .gif, or .png.")] = (
        Path("overlay.mp4")
    ),
    source: Annotated[Path | None, typer.Option(help="The video, if it is no longer where it was.")] = None,
    layout: Annotated[str, typer.Option(metavar="overlay|side_by_side")] = "overlay",
    colormap: Annotated[str, typer.Option(help="Any of matplotlib's.")] = "turbo",
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
    with _progress("drawing") as progress:
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
        _say(f"note: {note}")
    _print({"outputs": [str(output)], "frames": len(loaded.heat), "target": loaded.target_name}, as_json=as_json)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's layers.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, or the layers of one that can be explained: grid, stride and extent."""
    from vidcam.models.inspection import list_layers, list_models

    with _warnings_in_one_line():
        if name is None:
            _table(list_models(), as_json=as_json)
        else:
            with _progress("measuring") as progress:
                rows = list_layers(name, progress=progress)
            _table(rows, as_json=as_json)


@app.command()
def methods(as_json: Json = False) -> None:
    """List the methods."""
    from vidcam.attribution.methods import METHODS

    _table([{"method": name, "what it does": text} for name, text in METHODS.items()], as_json=as_json)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the video and pictures go.")] = Path("vidcam-demo"),
    seed: Annotated[int | None, typer.Option(min=0, help="Of the clip; each gives another one.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a clip whose truth is known, explain it, and say how well the heat hits. No download, no GPU."""
    from vidcam.demonstration import SEED, demonstrate

    with _progress("demo") as progress:
        facts = demonstrate(output, seed=SEED if seed is None else seed, force=force, progress=progress)
    _print(facts, as_json=as_json)


def _say(message: str) -> None:
    typer.echo(message, err=True)


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print a result on stdout: one JSON object per line, or lines for people."""
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        shown = "\n".join(f"  {item}" for item in value) if key == "outputs" else _shown(value)
        typer.echo(f"{key}:" + ("\n" if key == "outputs" else " ") + shown)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    lines = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show progress on stderr, and nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=max(total, done) if total else None)

        yield progress


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings as one line each on stderr."""
    shown = warnings.showwarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        _say(f"warning: {' '.join(str(message).split())}")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
