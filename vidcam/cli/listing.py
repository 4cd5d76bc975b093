"""The commands that list what there is to choose: models, their layers, and methods."""

from typing import Annotated

import typer

from vidcam.cli.console import progress_bar, table, warnings_in_one_line
from vidcam.cli.network import Building
from vidcam.cli.options import Printing
from vidcam.errors import printable


def models(
    printing: Printing,
    building: Building,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this model's layers and options.")] = None,
) -> None:
    """List the models, or of one the layers that can be explained, its options, and what was found out of it.

    A foreign one is named hf:REPOSITORY_OR_FOLDER, timm:NAME, hub:FOLDER:NAME, file.py:function or
    package.module:function. With --json, these are the layers alone.
    """
    from vidcam.models.inspection import list_layers, list_models, list_options, load_untrained

    with warnings_in_one_line():
        if name is None:
            table(list_models(), as_json=printing.as_json)
        else:
            model = load_untrained(name, building.options)
            with progress_bar("measuring") as progress:
                rows = list_layers(model, progress=progress)
            table(rows, as_json=printing.as_json)
            if printing.as_json:
                return
            if options := list_options(name):
                typer.echo()
                table(options, as_json=False)
            for line in ("", *model.concluded) if model.concluded else ():
                typer.echo(printable(line))


def methods(printing: Printing) -> None:
    """List the methods."""
    from vidcam.attribution.methods import METHODS

    rows = [
        {"method": each.name, "what it does": each.about, "paper": each.paper, "forwards": 1 + each.forwards}
        for each in METHODS.values()
    ]
    table(rows, as_json=printing.as_json)
