"""Heat on the source's frames: numbers by hand, saved and loaded without pickle."""

import json
import zipfile
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidcam.errors import MediaError, OptionError
from vidcam.explaining.explanation import Explanation


def make(heat: Any = None, **changes: Any) -> Explanation:
    """Three frames of 8x4 pixels with a grid of 2x4."""
    heat = np.arange(24).reshape(3, 2, 4) if heat is None else heat
    facts: dict[str, Any] = {
        "heat": np.asarray(heat, np.float32),
        "seconds": np.array([0.0, 0.1, 0.2]),
        "rows": np.array([0.5, 2.5]),
        "columns": np.array([0.5, 2.5, 4.5, 6.5]),
        "spread": "linear",
        "region": (-0.5, -0.5, 7.5, 3.5),
        "width": 8,
        "height": 4,
        "rate": Fraction(10),
        "windows": np.array([[0.0, 0.2], [0.1, 0.3]]),
        "probabilities": np.array([[0.2, 0.8], [0.6, 0.4]]),
        "target": 1,
        "labels": ("wave", "golf"),
    }
    return Explanation.from_heat(**facts | changes)


def test_numbers() -> None:
    found = make()
    assert found.probability == pytest.approx(0.6)
    assert found.target_name == "golf"
    assert make(labels=()).target_name == "1"
    assert found.duration_seconds == pytest.approx(0.3)
    assert make(seconds=np.array([5.0, 5.5, 9.0]), rate=Fraction(30000, 1001)).duration_seconds == pytest.approx(
        4 + 1001 / 30000
    )
    np.testing.assert_allclose(found.frame_scores, [3.5, 11.5, 19.5])
    assert "golf" in repr(found) and "3 frames of 8x4" in repr(found)


def test_negative_heat_counts_for_nothing() -> None:
    found = make([[[-4, 2]], [[-1, -1]], [[1, 3]]], columns=np.array([1.0, 5.0]), rows=np.array([2.0]))
    np.testing.assert_allclose(found.frame_scores, [1, 0, 2])
    np.testing.assert_allclose(found.normalize(), np.array([[[0, 2]], [[0, 0]], [[1, 3]]]) / 3)


def test_top_frames_are_those_that_were_seen(tmp_path: Path) -> None:
    seen = np.array([True, False, False, True, False])
    one_cell = {"rows": np.array([0.5]), "columns": np.array([0.5])}
    found = make(np.array([1, 3, 2, 3, 0])[:, None, None], seconds=np.arange(5) / 10, seen=seen, **one_cell)
    assert found.top_frames(99) == [3, 0]
    assert Explanation.load(found.save(tmp_path / "saved.npz")).top_frames() == [3, 0]
    assert "seen" not in found.summary()


def test_top_frames() -> None:
    found = make(np.array([1, 3, 2, 3, 0])[:, None, None], seconds=np.arange(5) / 10)
    assert found.top_frames(2) == [1, 3]  # of equal ones the earlier first
    assert found.top_frames(99) == [1, 3, 2, 0, 4]
    assert len(found.top_frames()) == 5
    assert all(type(index) is int for index in found.top_frames())
    for k in (0, -1):
        with pytest.raises(OptionError, match=f"given {k}"):
            found.top_frames(k)


def test_normalize() -> None:
    heat = np.array([[[1.0, 2]], [[0, 8]], [[0, 0]]])
    found = make(heat, columns=np.array([1.0, 5.0]), rows=np.array([2.0]))
    np.testing.assert_allclose(found.normalize("video"), heat / 8)
    np.testing.assert_allclose(found.normalize("frame"), [[[0.5, 1]], [[0, 1]], [[0, 0]]])
    np.testing.assert_array_equal(found.heat, heat)
    with pytest.raises(OptionError, match="possible: video, frame"):
        found.normalize("window")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -2])
def test_flat_maps(value: float) -> None:
    found = make(np.full((3, 2, 4), value))
    assert found.is_flat and not make().is_flat
    for scale in ("video", "frame"):
        assert not found.normalize(scale).any()
    assert found.top_frames(2) == [0, 1]


def test_the_smallest_heat_is_not_flat() -> None:
    found = make(np.full((3, 2, 4), 1e-42))
    assert not found.is_flat
    np.testing.assert_allclose(found.normalize(), 1, rtol=1e-3)


def test_dense_by_hand() -> None:
    """Columns lie at 0.5, 2.5, 4.5, 6.5: linear between them, constant beyond."""
    heat = np.zeros((3, 2, 4))
    heat[1, 0] = [4, 0, 0, 8]
    dense = make(heat).dense(1)
    assert dense.shape == (4, 8)
    np.testing.assert_allclose(dense[0], [4, 3, 1, 0, 0, 2, 6, 8], atol=1e-6)
    np.testing.assert_allclose(dense[:, 0], [4, 3, 1, 0], atol=1e-6)
    assert not make(heat).dense(0).any()


def test_nearest_fills_blocks() -> None:
    heat = np.zeros((3, 2, 4))
    heat[0, 1, 1] = 1
    expected = np.zeros((4, 8))
    expected[2:, 2:4] = 1
    np.testing.assert_array_equal(make(heat, spread="nearest").dense(0), expected)


def test_outside_the_region_is_nothing() -> None:
    dense = make(np.ones((3, 2, 4)), region=(1.5, 0.5, 5.5, 2.5)).dense(0)
    expected = np.zeros((4, 8))
    expected[1:3, 2:6] = 1
    np.testing.assert_allclose(dense, expected)


def test_dense_is_the_product_of_spreading() -> None:
    found = make(np.random.default_rng(0).normal(size=(3, 2, 4)), region=(0.2, -0.5, 6.9, 3.0))
    down, across = found.spreading()
    assert down.shape == (4, 2) and across.shape == (4, 8)
    for f in range(3):
        np.testing.assert_allclose(down @ found.heat[f] @ across, found.dense(f), atol=1e-6)


def test_save_and_load(tmp_path: Path) -> None:
    provenance = {"source": "/videos/ünïcode \udcff.mp4", "layer": "layer4", "geometry": {"t": {"extent": None}}}
    for number, changes in enumerate(
        (
            {"provenance": provenance, "notes": ("one", "two\nlines"), "attention": np.array([0.1, 0.2, 0.7])},
            {"rate": Fraction(30000, 1001), "labels": (), "spread": "nearest"},
        )
    ):
        before = make(**changes)
        assert before.save(tmp_path / f"{number}.npz") == tmp_path / f"{number}.npz"
        after = Explanation.load(tmp_path / f"{number}.npz")
        for each in fields(Explanation):
            one, other = getattr(before, each.name), getattr(after, each.name)
            assert type(one) is type(other), each.name
            same(one, other)


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict) and one.keys() == other.keys():
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_nothing_is_pickled(tmp_path: Path) -> None:
    make(attention=np.zeros(3)).save(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        for name in archive.namelist():
            assert b"'O'" not in archive.read(name)[:128]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert {"maps", "seconds", "facts"} <= set(file.files)


def test_a_file_is_not_replaced_without_force(tmp_path: Path) -> None:
    make().save(tmp_path / "a.npz")
    with pytest.raises(MediaError, match="force"):
        make().save(tmp_path / "a.npz")
    make(target=0).save(tmp_path / "a.npz", force=True)
    assert Explanation.load(tmp_path / "a.npz").target == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def foreign(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("not an explanation")
    elif kind == "empty":
        path.touch()
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "foreign npz":
        np.savez(path, x=np.zeros(3))
    elif kind == "pickled":
        np.savez(path, facts=np.array({"target": 1}, object), allow_pickle=True)
    elif kind == "facts are a list":
        np.savez(path, facts=np.array("[1, 2]"))
    elif kind == "facts are no JSON":
        np.savez(path, facts=np.array("{"))
    elif kind == "facts are not all":
        np.savez(path, facts=np.array(json.dumps({"rate": [1, 1], "region": [], "labels": [], "notes": []})))
    elif kind == "rate by zero":
        make().save(path)
        with np.load(path) as file:
            arrays = dict(file)
        facts = json.loads(str(arrays.pop("facts"))) | {"rate": [1, 0]}
        np.savez(path, facts=np.array(json.dumps(facts)), **arrays)
    else:
        make(np.random.default_rng(0).random((3, 60, 60))).save(path)
        data = path.read_bytes()
        if kind == "truncated":
            path.write_bytes(data[: len(data) // 2])
        else:
            middle = len(data) // 3
            path.write_bytes(data[:middle] + bytes(64) + data[middle + 64 :])


@pytest.mark.parametrize(
    "kind",
    [
        *("text", "empty", "npy", "foreign npz", "pickled", "facts are a list", "facts are no JSON"),
        *("facts are not all", "rate by zero", "truncated", "damaged"),
    ],
)
def test_what_is_no_explanation(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.npz"
    foreign(path, kind)
    with pytest.raises(MediaError, match="is no explanation saved by vidcam") as caught:
        Explanation.load(path)
    assert "\n" not in str(caught.value)


def test_damage_anywhere_is_told(tmp_path: Path) -> None:
    """Whatever byte is hit: the same explanation or one clear error."""
    path = tmp_path / "a.npz"
    make(np.random.default_rng(0).random((3, 9, 9)), rows=np.arange(9.0), columns=np.arange(9.0)).save(path)
    data = path.read_bytes()
    for at in range(0, len(data), 13):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        try:
            assert Explanation.load(path).heat.shape == (3, 9, 9)
        except MediaError as error:
            assert "is no explanation" in str(error)


def test_the_summary_is_json_without_arrays() -> None:
    found = json.loads(json.dumps(make(attention=np.zeros(3)).summary()))
    assert found["rate"] == "10" and found["target"] == 1 and found["width"] == 8
    assert not {"heat", "seconds", "windows", "attention"} & set(found)
