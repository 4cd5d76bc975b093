"""The commands that list what there is to choose: models, their layers, and methods."""

from typing import Annotated

import typer

from vidcam.cli.console import progress_bar, table, warnings_in_one_line
from vidcam.cli.options import Printing


def models(
    printing: Printing,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this model's layers.")] = None,
) -> None:
    """List the models, or the layers of one that can be explained: grid, stride and extent."""
    from vidcam.models.inspection import list_layers, list_models

    with warnings_in_one_line():
        if name is None:
            table(list_models(), as_json=printing.as_json)
        else:
            with progress_bar("measuring") as progress:
                rows = list_layers(name, progress=progress)
            table(rows, as_json=printing.as_json)


def methods(printing: Printing) -> None:
    """List the methods."""
    from vidcam.attribution.methods import METHODS

    rows = [
        {"method": each.name, "what it does": each.about, "paper": each.paper, "forwards": 1 + each.forwards}
        for each in METHODS.values()
    ]
    table(rows, as_json=printing.as_json)
