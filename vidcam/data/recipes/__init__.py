"""Recipes: what a data set is as it was downloaded, turned into the manifest.csv that is all vidcam reads.

Every module here is one, and known by being here. It has a function `collect(root, *, ...)` that reads a download
and returns what it holds, a `vidcam.data.collection.Collection` or something with the same `write`, `lines` and
`warnings`:

    from vidcam.data.recipes import hmdb51

    hmdb51.collect("hmdb51", split=1).write("manifest.csv")

`vidcam manifest` makes a command of it: the module's docstring is the help, the arguments of `collect` and `write` are
the options, their docstrings what the options say.
"""

from pkgutil import iter_modules


def recipes() -> list[str]:
    """Name the recipes."""
    return sorted(module.name for module in iter_modules(__path__))
