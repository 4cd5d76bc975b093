"""Which snippets are learned from and which ones validate."""

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vidcam.errors import OptionError
from vidcam.odometry.training.settings import OdometrySettings
from vidcam.odometry.training.splits import Snippets, SplitDrives, split_drives
from vidcam.odometry.training.train import train_odometry


def split(data: list[Path], **options: Any) -> SplitDrives:
    chosen = {name: p.default for name, p in inspect.signature(train_odometry).parameters.items()}
    chosen |= {"size": (32, 104), "skip_static": False} | options
    return split_drives(
        data, OdometrySettings(**{n: chosen[n] for n in inspect.signature(OdometrySettings).parameters})
    )


def frames(part: Snippets | None) -> set[tuple[str, int]]:
    """The drives and frames that snippets are made of."""
    if part is None:
        return set()
    places = ((part.dataset.snippets[i], part.dataset) for i in part.indices)
    return {
        (dataset.drives[drive].name, first + k) for (drive, first), dataset in places for k in range(dataset.length)
    }


@pytest.fixture
def scenes(road: Path, tmp_path: Path) -> Iterator[Path]:
    """The drives in the prepared layout: a, b and c, of which c is the short beginning of b."""
    for name, source, count in (("a", "00", 24), ("b", "01", 24), ("c", "01", 5)):
        folder = tmp_path / "scenes" / name
        folder.mkdir(parents=True)
        for picture in sorted((road / "sequences" / source / "image_2").iterdir())[:count]:
            shutil.copy(picture, folder)
        (folder / "cam.txt").write_text("60 0 51.5\n0 60 15.5\n0 0 1\n")
    yield tmp_path / "scenes"


def test_the_last_tenth_validates_and_shares_no_frame(road: Path) -> None:
    found = split([road], length=5)
    learned, validating = frames(found.train), frames(found.validation)
    assert learned == {(name, i) for name in ("00", "01") for i in range(19)}
    assert validating == {(name, i) for name in ("00", "01") for i in range(19, 24)}
    assert [(stretch.drive.name, stretch.first) for stretch in found.measured] == [("00", 19), ("01", 19)]
    assert found.facts == {"drives": [["00", 24], ["01", 24]], "snippets": {"train": 30, "validation": 2}}


def test_what_validates_is_not_augmented(road: Path) -> None:
    found = split([road])
    assert found.validation is not None
    for part, changes in ((found.train, True), (found.validation, False)):
        clips = []
        for epoch in (0, 1):
            part.set_epoch(epoch)
            clips.append(part[0])
        same = torch.equal(clips[0]["clip"], clips[1]["clip"])
        assert same is not changes
    plain = split([road], augment=False)
    assert plain.validation is not None
    assert torch.equal(found.validation[0]["clip"], plain.validation[0]["clip"])


def test_drives_by_name(road: Path) -> None:
    found = split([road], validation=("01",))
    assert {name for name, _ in frames(found.train)} == {"00"}
    assert frames(found.validation) == {("01", i) for i in range(24)}
    assert found.how == "drives 01" and [drive.name for drive in found.drives] == ["00"]
    with pytest.raises(OptionError, match=r"unknown drive to validate with '02'; .*0"):
        split([road], validation=("02",))


def test_several_roots(road: Path, scenes: Path) -> None:
    found = split([road / "sequences" / "00", scenes / "b"], validation=("b",))
    assert {name for name, _ in frames(found.train)} == {"00"} and {name for name, _ in frames(found.validation)} == {
        "b"
    }


def test_lists_tell(scenes: Path) -> None:
    (scenes / "train.txt").write_text("a\n")
    (scenes / "val.txt").write_text("b\n")
    found = split([scenes])
    assert {name for name, _ in frames(found.train)} == {"a"}
    assert frames(found.validation) == {("b", i) for i in range(24)}
    assert found.how == f"the drives that {scenes} lists for it"
    assert frames(split([scenes], validation="none").train) == {("a", i) for i in range(24)}


def test_what_validates_is_never_learned_from(scenes: Path) -> None:
    (scenes / "val.txt").write_text("b\n")
    with pytest.raises(OptionError, match="no drive is left to learn from"):
        split([scenes])
    found = split([scenes, scenes / "a", scenes / "b"])
    assert {name for name, _ in frames(found.train)} == {"a"} and {name for name, _ in frames(found.validation)} == {
        "b"
    }


def test_a_drive_given_twice_counts_once(road: Path, scenes: Path, tmp_path: Path) -> None:
    one = road / "sequences" / "00"
    (tmp_path / "link").symlink_to(road)
    found = split([one, road, tmp_path / "link", one])
    assert [drive.name for drive in found.drives] == ["00", "01"]
    assert found.facts == split([road]).facts and len(found.measured) == 2
    named = split([one, road, one], validation=("00",))
    assert [drive.name for drive in named.drives] == ["01"] and [s.drive.name for s in named.measured] == ["00"]
    (scenes / "val.txt").write_text("b\n")
    (scenes / "again").symlink_to(scenes / "b")
    told = split([scenes, scenes, scenes / "a", scenes / "again"])
    assert [drive.name for drive in told.drives] == ["a"] and [s.drive.name for s in told.measured] == ["b"]
    assert told.how == f"the drives that {scenes} lists for it"


def test_a_drive_too_short_to_divide_is_learned_from(scenes: Path) -> None:
    found = split([scenes])
    assert frames(found.train) == {(name, i) for name, n in (("a", 21), ("b", 21), ("c", 5)) for i in range(n)}
    assert [stretch.drive.name for stretch in found.measured] == ["a", "b"]
    alone = split([scenes / "c"])
    assert alone.validation is None and alone.how == "none: the drives are too short"
    assert frames(alone.train) == {("c", i) for i in range(5)}


def test_intrinsics_of_ones_own(scenes: Path) -> None:
    for path in scenes.glob("*/cam.txt"):
        path.unlink()
    with pytest.raises(OptionError, match="intrinsics are not known"):
        split([scenes])
    found = split([scenes], intrinsics="50,40,52,16", augment=False, size=(32, 52))
    np.testing.assert_allclose(found.train[0]["intrinsics"], [[25, 0, 26], [0, 40, 16], [0, 0, 1]])
