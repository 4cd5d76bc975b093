"""Files of version 0.1 still load; `data/` holds two, of a clip of 8 frames and a network of one convolution."""

from pathlib import Path

import numpy as np
import pytest

from vidcam.errors import TargetError
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
