"""Options, declared once: signature, help text, defaults, checks and inheritance."""

import inspect
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from vidcam.errors import OptionError
from vidcam.options import Options, declared, option, takes


def pair(size: tuple[int, ...]) -> str | None:
    return None if len(size) == 2 else "needs a height and a width"


@dataclass(frozen=True)
class Shared(Options):
    """What every run has."""

    panel: ClassVar[str] = "Run"

    epochs: int = option("How often each video is seen.", 30, least=1)
    seed: int = option("Of all chance.", 0, least=0, most=2**63 - 1)


@dataclass(frozen=True)
class Chosen(Shared):
    """What one of them has."""

    model: str = option("Which network.")
    epochs: int = option("How often.", 5, least=1)
    rate: float = option("Of AdamW.", 1e-3, above=0)
    decay: float | None = option("Of AdamW.", None, least=0)
    smoothing: float = option("Share of the target.", 0.0, least=0, below=1)
    share: float = option("Of something.", 0.5, above=0, most=1)
    schedule: str = option("Of the rate.", "cosine", more="It may be none.", choices=("cosine", "none"))
    freeze: Sequence[str] = option("Stays as it is.", ())
    devices: int | str | Sequence[int] = option("How many.", "auto")
    size: tuple[int, int] = option("Of the frames.", (2, 3), check=pair)
    built: Mapping[str, Any] = option("Of the network.", {})
    weights: str | Path | None = option("To start from.", None)


@takes(Chosen)
def fit(manifest: str, *, output: str, chosen: Chosen, force: bool = False) -> tuple[str, str, Chosen, bool]:
    """Train.

    Args:
        manifest: what to learn
            from.
        output: a folder.

    Raises:
        OptionError: a choice.
    """
    return manifest, output, chosen, force


def test_the_signature_shows_every_option() -> None:
    shown = inspect.signature(fit).parameters
    assert list(shown) == ["manifest", "output", "force", *declared(Chosen)]
    assert all(shown[name].kind is inspect.Parameter.KEYWORD_ONLY for name in declared(Chosen))
    assert shown["model"].default is inspect.Parameter.empty
    assert (shown["epochs"].default, shown["built"].default, shown["size"].default) == (5, {}, (2, 3))
    assert shown["decay"].annotation == float | None and shown["weights"].annotation == str | Path | None


def test_the_docstring_tells_them_where_arguments_are_told() -> None:
    assert fit.__doc__ is not None
    lines = fit.__doc__.splitlines()
    assert lines[:6] == ["Train.", "", "Args:", "    manifest: what to learn", "        from.", "    output: a folder."]
    assert lines[6:8] == ["    epochs: How often.", "    seed: Of all chance."]
    assert "    schedule: Of the rate. It may be none. Possible: cosine, none." in lines
    assert lines[-4:] == ["    weights: To start from.", "", "Raises:", "    OptionError: a choice."]


def test_a_docstring_without_arguments_and_none_at_all() -> None:
    @takes(Shared)
    def told(shared: Shared) -> None:
        """Say."""

    @takes(Shared)
    def silent(shared: Shared) -> None: ...

    assert told.__doc__ is not None and told.__doc__.splitlines()[:4] == [
        "Say.",
        "",
        "Args:",
        *told.__doc__.splitlines()[3:4],
    ]
    assert "    seed: Of all chance." in told.__doc__.splitlines() and silent.__doc__ is None


def test_a_call_takes_options_one_by_one() -> None:
    manifest, output, chosen, force = fit("m.csv", output="o", model="demo", epochs=7, freeze=["a", "b"], force=True)
    assert (manifest, output, force) == ("m.csv", "o", True)
    assert (chosen.model, chosen.epochs, chosen.seed, chosen.freeze) == ("demo", 7, 0, ("a", "b"))
    assert fit("m.csv", output="o", **chosen.arguments())[2] == chosen


def test_two_groups() -> None:
    @dataclass(frozen=True)
    class Machine(Options):
        workers: int = option("Processes.", 0, least=0)

    @takes(Shared, Machine)
    def run(machine: Machine, shared: Shared) -> tuple[int, int]:
        return machine.workers, shared.epochs

    assert run(workers=3) == (3, 30)
    assert list(inspect.signature(run).parameters) == ["epochs", "seed", "workers"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"output": "o", "model": "x", "epoch": 1}, r"fit\(\) got an unexpected keyword argument 'epoch'"),
        ({"output": "o"}, r"fit\(\) missing a required.* argument: 'model'"),
        ({"model": "x"}, r"fit\(\) missing a required.* argument: 'output'"),
        ({"output": "o", "model": "x", "chosen": None}, r"unexpected keyword argument 'chosen'"),
    ],
)
def test_wrong_arguments_are_type_errors_as_usual(given: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fit("m.csv", **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1; given 0"),
        ({"epochs": float("nan")}, "epochs must be at least 1; given nan"),
        ({"epochs": "many"}, "epochs must be a number; given many"),
        ({"seed": -1}, "seed must be from 0 to 9223372036854775807; given -1"),
        ({"seed": 2**63}, "seed must be from 0 to 9223372036854775807; given 9223372036854775808"),
        ({"rate": 0.0}, "rate must be positive; given 0.0"),
        ({"decay": -1.0}, "decay must not be negative; given -1.0"),
        ({"smoothing": 1.0}, "smoothing must be from 0 to below 1; given 1.0"),
        ({"share": 2.0}, "share must be positive and at most 1; given 2.0"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean 'cosine'? possible: cosine, none"),
        ({"decay": float("inf")}, "decay must be finite; given inf"),
        ({"size": (4,)}, "size needs a height and a width; given (4,)"),
        ({"epochs": None}, "epochs must have a value; given None"),
        ({"schedule": None}, "schedule must have a value; given None"),
        ({"size": None}, "size must have a value; given None"),
    ],
)
def test_checks(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Chosen(model="x", **given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("range_", "value", "message"),
    [
        ({"most": 3}, 4, "n must be at most 3; given 4"),
        ({"below": 3}, 3, "n must be below 3; given 3"),
        ({"above": 2}, 2, "n must be above 2; given 2"),
        ({"above": 2, "below": 3}, 3, "n must be above 2 and below 3; given 3"),
    ],
)
def test_other_ranges(range_: dict[str, float], value: float, message: str) -> None:
    @dataclass(frozen=True)
    class Number(Options):
        n: float = option("A number.", 2.5, **range_)

    assert Number().n == 2.5
    with pytest.raises(OptionError) as caught:
        Number(n=value)
    assert str(caught.value) == message


def test_several_values_are_a_tuple_and_one_is_one_of_them() -> None:
    assert Chosen(model="x", freeze="stem").freeze == ("stem",)
    assert Chosen(model="x", freeze=["a"]).freeze == ("a",)
    assert Chosen(model="x", size=[4, 5]).size == (4, 5)  # type: ignore[arg-type]
    assert [Chosen(model="x", devices=given).devices for given in ("auto", 2, [0, 1])] == ["auto", 2, (0, 1)]


def test_defaults_are_not_shared() -> None:
    one, other = Chosen(model="x"), Chosen(model="x")
    assert one.built == {} and one.built is not other.built
    assert one == other and one.decay is None


def test_a_group_inherits_and_overrides() -> None:
    assert list(declared(Chosen))[:3] == ["epochs", "seed", "model"]
    assert (Shared().epochs, Chosen(model="x").epochs) == (30, 5)
    assert declared(Chosen)["seed"] == declared(Shared)["seed"] and Chosen.panel == "Run"


def test_a_default_alone_may_change() -> None:
    @dataclass(frozen=True)
    class Longer(Shared):
        epochs: int = 50

    assert Longer().epochs == 50 and declared(Longer)["epochs"] == declared(Shared)["epochs"]
    with pytest.raises(OptionError, match="epochs must be at least 1"):
        Longer(epochs=0)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, vidcam.options; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "typer", "rich"} & set(loaded)
