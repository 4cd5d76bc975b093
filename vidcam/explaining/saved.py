"""Explanations on disk: one `.npz` without pickled objects, and what earlier versions wrote."""

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vidcam.errors import MediaError
from vidcam.explaining.fields import check_fields
from vidcam.media import replacing

Made = TypeVar("Made")
EXTRA = "extra "
"""What stands before the name of an extra in the file."""
EXTRAS = ("attention", "poses", "true_poses", "depth")
TUPLES = ("region", "labels", "notes", "units", "explained")


def write(values: Mapping[str, Any], path: str | Path, *, force: bool = False) -> Path:
    """Write the fields of an explanation; an existing file needs `force`."""
    arrays: dict[str, Any] = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in values.items() if name not in arrays and name != "extras"}
    rate: Fraction = facts["rate"]
    facts["rate"] = [rate.numerator, rate.denominator]
    arrays |= {EXTRA + name: np.asarray(value) for name, value in values["extras"].items()}
    with replacing(path, force=force) as part:
        with part.open("wb") as file:
            np.savez_compressed(file, facts=np.array(json.dumps(facts)), **arrays)
    return Path(path)


def read(path: str | Path, make: Callable[..., Made]) -> Made:
    """Read the fields of an explanation, and make one of them; a MediaError says that it is no such file, and why."""
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: file[name] for name in file.files}
        facts = json.loads(str(arrays.pop("facts")))
        if strange := [name for name in TUPLES if not isinstance(facts.get(name, []), list)]:
            raise MediaError(f"its {strange[0]} are no list")
        facts["rate"] = Fraction(*facts["rate"])
        facts |= {name: tuple(facts[name]) for name in TUPLES if name in facts}
        extras = {name.removeprefix(EXTRA): arrays.pop(name) for name in [*arrays] if name.startswith(EXTRA)}
        values = facts | arrays | {"extras": extras}
        values = values if "explained" in facts else fields_of_heat(values)
        check_fields(values)
        return make(**values)
    except OSError:
        raise
    except Exception as error:  # zipfile and numpy raise whatever they stumble upon in a damaged file
        why = error if isinstance(error, MediaError) else "it is damaged or another kind of file"
        raise MediaError(f"{path} is no explanation saved by vidcam ({why})") from None


def fields_of_heat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an explanation of one class and its heat, or of all scores of a regressor and their maps.

    That is what version 0.1 wrote. It kept no class's probability per frame: that is interpolated between the windows.
    """
    values = dict(given)
    extras = {name: extra for name in EXTRAS if (extra := values.pop(name, None)) is not None}
    values["extras"] = extras | values.get("extras", {})
    heat = values.pop("heat")
    if "maps" in values:
        return values | {"explained": tuple(range(len(values["maps"])))}
    said = values["probabilities"][:, values["target"]]
    middles = values["windows"].mean(axis=1)
    order = np.argsort(middles, kind="stable")
    frames = len(heat)
    return values | {
        "maps": heat[None],
        "explained": (values["target"],),
        "classes": values["probabilities"].shape[1],
        "outputs": np.interp(values["seconds"], middles[order], said[order])[:, None],
        "gradients": np.full((1, frames), np.nan),
        "vanishing": np.zeros((1, frames), bool),
    }
