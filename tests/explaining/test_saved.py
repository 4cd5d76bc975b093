"""Files of version 0.1 still load; `data/` holds two, of a clip of 8 frames and a network of one convolution."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcam.errors import MediaError, TargetError
from vidcam.explaining.explanation import Explanation

DATA = Path(__file__).parent / "data"


def test_a_class_of_version_0_1() -> None:
    """The numbers are those that version 0.1 told when it wrote the file."""
    told = Explanation.load(DATA / "class_0_1.npz")
    assert (told.target, told.target_name, told.labels, told.classes) == (1, "clap", ("wave", "clap", "rest"), 3)
    assert (told.heat.shape, told.top_frames(2), told.is_class, told.signed) == ((8, 4, 5), [0, 1], True, False)
    assert told.heat.sum() == pytest.approx(0.5190053, abs=1e-7)
    assert told.probability == pytest.approx(0.22765143, abs=1e-7)
    assert told.provenance["versions"]["vidcam"] == "0.1.0"
    assert told.gradient is None and told.loss is None and told.attention is None
    with pytest.raises(TargetError, match="'wave' was not explained; there are clap"):
        told.of("wave")


def test_a_regressor_of_version_0_1() -> None:
    told = Explanation.load(DATA / "regression_0_1.npz")
    assert (told.target_name, told.labels, told.unit, told.signed) == (
        "speed",
        ("loss", "steering", "speed"),
        "m/s",
        True,
    )
    assert (told.heat.shape, told.top_frames(2), told.is_class) == ((8, 4, 5), [0, 1], False)
    assert told.heat.sum() == pytest.approx(0.40282086, abs=1e-7)
    np.testing.assert_allclose(
        told.values, [-0.34317, -0.34317, -0.34324, -0.34331, -0.34343, -0.34347, -0.34351, -0.34351], atol=1e-5
    )
    loss = told.of("loss")
    np.testing.assert_allclose(loss.values, [5.5325, 5.5325, 5.9695, 6.4065, 7.3283, 7.8132, 8.2982, 8.2982], atol=1e-4)
    assert loss.heat.sum() == pytest.approx(1.7913135, rel=1e-6)
    assert "vanishes as the fit gets better" in loss.notes[-1]


@pytest.mark.parametrize("name", ["class_0_1.npz", "regression_0_1.npz"])
def test_what_was_loaded_is_written_as_now(name: str, tmp_path: Path) -> None:
    old = Explanation.load(DATA / name)
    new = Explanation.load(old.save(tmp_path / name))
    np.testing.assert_array_equal(new.heat, old.heat)
    assert new.summary() == old.summary()


def changed(tmp_path: Path, name: str, value: Any) -> Path:
    """A sound file of this version, with one array or fact replaced."""
    sound = Explanation.load(DATA / "class_0_1.npz").save(tmp_path / "sound.npz")
    with np.load(sound) as file:
        arrays: dict[str, Any] = {key: file[key] for key in file.files}
    if name in arrays or name.startswith("extra "):
        arrays[name] = value(arrays[name]) if callable(value) else value
    else:
        arrays["facts"] = np.array(json.dumps(json.loads(str(arrays["facts"])) | {name: value}))
    np.savez(tmp_path / "changed.npz", **arrays)
    return tmp_path / "changed.npz"


DAMAGED: list[tuple[str, Any, str]] = [
    ("seconds", lambda x: x * np.nan, "its seconds are not finite"),
    ("seconds", lambda x: x[::-1], "its seconds run backwards"),
    ("seconds", lambda x: x[:-1], "which does not fit the others"),
    ("maps", lambda x: x.astype(complex), "its maps are no real numbers"),
    ("maps", lambda x: x.astype(np.int8), "its maps are no real numbers"),
    ("maps", lambda x: x + np.inf, "its maps are not finite"),
    ("maps", lambda x: x[0], "its maps have shape"),
    ("maps", lambda x: x[..., :0], "its maps have shape"),
    ("probabilities", lambda x: x[0], "its probabilities have shape"),
    ("rows", lambda x: x[::-1], "do not increase"),
    ("columns", lambda x: x.astype(str), "its columns are no real numbers"),
    ("windows", lambda x: x[:, ::-1], "ends before it starts"),
    ("vanishing", lambda x: x.astype(float), "its vanishing are no booleans"),
    ("extra attention", np.full(8, np.nan), "its attention is not finite"),
    ("extra attention", np.ones(7), r"its attention has shape \(7,\)"),
    ("extra poses", np.ones((8, 3, 4)), "its poses has shape"),
    ("extra depth", np.ones((8, 6)), "its depth has shape"),
    ("extra depth", np.ones((8, 4, 0)), "its depth has shape"),
    ("extra poses", np.ones((8, 4, 4)), "its poses turn space into a plane"),
    ("gradients", lambda x: np.full_like(x, np.inf), "its gradients are not finite"),
    ("target", 2, "its target 2 is not among"),
    ("target", True, "its target True"),
    ("explained", [7], "it explains the columns"),
    ("explained", [1, 1], "it explains the columns"),
    ("explained", "1", "its explained are no list"),
    ("labels", ["wave", 3, "rest"], "its labels do not fit"),
    ("labels", "abc", "its labels are no list"),
    ("notes", [None], "its notes do not fit"),
    ("classes", 9, "it has 9 classes"),
    ("width", 10**9, "its size is"),
    ("height", -4, "its size is"),
    ("rate", [0, 1], "its rate is 0"),
    ("rate", [1, 0], "damaged or another kind of file"),
    ("region", [5, 0, 1, 4], "its region is"),
    ("region", [float("nan"), 0, 1, 4], "its region is"),
    ("spread", "wide", "its spread is 'wide'"),
    ("signed", "yes", "signed is 'yes'"),
    ("provenance", {"method": []}, "its provenance is damaged"),
    ("provenance", 5, "its provenance is damaged"),
    ("strange", 5, "damaged or another kind of file"),
]


@pytest.mark.parametrize(("name", "value", "says"), DAMAGED, ids=[f"{name}-{says[:30]}" for name, _, says in DAMAGED])
def test_what_cannot_be_true_is_refused_in_one_line(tmp_path: Path, name: str, value: Any, says: str) -> None:
    with pytest.raises(MediaError, match=rf"is no explanation saved by vidcam \(.*{says}") as caught:
        Explanation.load(changed(tmp_path, name, value))
    assert "\n" not in str(caught.value)


def test_facts_nested_too_deep(tmp_path: Path) -> None:
    np.savez(tmp_path / "deep.npz", facts=np.array("[" * 100_000))
    with pytest.raises(MediaError, match="damaged"):
        Explanation.load(tmp_path / "deep.npz")


def test_what_is_not_known_may_be_missing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = Explanation.load(changed(tmp_path, "gradients", lambda x: x * np.nan))
    assert told.top_frames(2) == [0, 1]
