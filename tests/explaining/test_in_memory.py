"""Explaining, ranking, erasing and drawing frames that lie in no file."""

import copy
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vidcam
from vidcam import Model, explain, rank
from vidcam.data.preprocessing import Preprocessing
from vidcam.errors import MediaError, OptionError
from vidcam.explaining.explanation import Explanation
from vidcam.media import open_video
from vidcam.metrics import deletion, score_drop
from vidcam.models.recipe import UntrainedWarning
from vidcam.types import Pixels


class Reddish(nn.Module):
    """Says how red each cell of 8 x 8 pixels is: evidence is where red is."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.AvgPool3d((1, 8, 8))
        self.see = nn.Conv3d(3, 1, 1, bias=False)
        self.see.weight.data = torch.tensor([1.0, -0.5, -0.5]).reshape(1, 3, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        red = self.see(self.cells(x)).relu().mean((1, 2, 3, 4))
        return torch.stack([red, -red], 1)


DROP = {"drop": score_drop(lambda output: output[:, 0])}


def model(**slots: Any) -> Model:
    size = Preprocessing(resize=(32, 48))
    return Model(
        Reddish().eval(),
        **{"layer": "see", "layout": "b c t h w", "frames": 4, "labels": ["red", "not"], "preprocessing": size} | slots,
    )


def frames() -> Pixels:
    """Gray, but for a red patch in frame 6, row 2 and column 1 of 4 x 6 cells."""
    array = np.full((10, 32, 48, 3), 90, np.uint8)
    array[6, 16:24, 8:16] = (250, 10, 10)
    return array


def in_video(array: Pixels) -> Any:
    return open_video(array, rate=20)


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy, lambda array: array / 255, list, iter, in_video])
def test_the_peak_is_where_the_evidence_is(form: Any) -> None:
    found = explain(model(), form(frames()), target="red", rate=None if form is in_video else 20)
    assert np.unravel_index(found.heat.argmax(), found.heat.shape) == (6, 2, 1)
    np.testing.assert_allclose(found.seconds, np.arange(10) / 20)
    assert found.rate == Fraction(20) and (found.width, found.height) == (48, 32)
    assert found.provenance["source"] is None and found.provenance["source_digest"] is None


def written(folder: Path) -> Path:
    folder.mkdir()
    for index, pixels in enumerate(frames()):
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_it_is_the_explanation_of_the_same_pictures_in_a_folder(tmp_path: Path) -> None:
    folder, target = written(tmp_path / "frames"), "red"
    one, other = explain(model(), folder, target=target, rate=20), explain(model(), frames(), target=target, rate=20)
    np.testing.assert_array_equal(one.maps, other.maps)
    np.testing.assert_array_equal(one.seconds, other.seconds)
    assert [note for note in one.notes if "assumed" not in note] == list(other.notes)


def test_an_iterator_of_a_classifier_without_a_target_is_gone_through_twice() -> None:
    array = frames()
    array[:5] = (0, 90, 0)  # "not" leads first
    found = explain(model(), iter(array), rate=20)
    np.testing.assert_array_equal(found.maps, explain(model(), array, rate=20).maps)


def test_a_single_picture() -> None:
    found = explain(model(frames=1), Image.fromarray(frames()[6]), target="red")
    assert np.unravel_index(found.heat.argmax(), found.heat.shape) == (0, 2, 1) and len(found.seconds) == 1


def drawn(explanation: Explanation, path: Path, **choices: Any) -> Pixels:
    vidcam.render(explanation, path, bar=False, colorbar=False, **choices)
    return np.stack([frame.pixels for frame in open_video(path)])


def test_it_can_be_drawn(tmp_path: Path) -> None:
    found = explain(model(), frames(), target="red", rate=20)
    film = drawn(found, tmp_path / "film.mp4")
    assert film.shape == frames().shape and open_video(tmp_path / "film.mp4").info.rate == 20
    assert np.abs(film[1].astype(int) - 90).max() < 40 < np.abs(film[6, 16:24, 8:16].astype(int) - 90).max()
    vidcam.contact_sheet(found, tmp_path / "sheet.png")
    assert len(vidcam.figure(found, 2).axes) >= 2


def test_a_saved_one_asks_for_the_frames(tmp_path: Path) -> None:
    found = explain(model(), frames(), target="red", rate=20)
    film = drawn(found, tmp_path / "film.mp4")
    loaded = Explanation.load(found.save(tmp_path / "saved.npz"))
    assert loaded.video is None
    for draw in (vidcam.render, vidcam.contact_sheet):
        with pytest.raises(OptionError, match="does not say which video it is about; give source=") as error:
            draw(loaded, tmp_path / "none.mp4")
        assert "\n" not in str(error.value)
    again = drawn(loaded, tmp_path / "again.mp4", source=torch.from_numpy(frames()))
    np.testing.assert_array_equal(again, film)
    vidcam.contact_sheet(loaded, tmp_path / "sheet.png", source=list(frames()))
    with pytest.raises(MediaError, match="the ndarray is 24x32, but what was explained was 48x32"):
        vidcam.render(loaded, tmp_path / "none.mp4", source=frames()[:, :, :24])
    with pytest.raises(MediaError, match="the ndarray has 9 frames instead of the 10"):
        vidcam.render(loaded, tmp_path / "none.mp4", source=frames()[:9])


def test_copies_and_pickles_leave_the_frames_out() -> None:
    found = explain(model(), frames(), target="red", rate=20)
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other.video is None and np.array_equal(other.maps, found.maps)
    assert found.of("red").video is found.video and "video" not in found.summary()


def test_rank_and_deletion_take_them() -> None:
    net = model()
    found = rank(net, list(frames()), target="red", rate=20, draws=2, shown=(1,))
    assert found.explanation.top_frames(1) == [6]
    explanation = explain(net, frames(), target="red", rate=20)
    given = [
        deletion(net, form(frames()), explanation, measures=DROP, rate=20, draws=2) for form in (np.asarray, list, iter)
    ]
    assert given[0].as_dict() == given[1].as_dict() == given[2].as_dict()


def test_refusals_name_what_to_say(tmp_path: Path) -> None:
    net = model()
    explanation = explain(net, frames(), target="red", rate=20)
    for run in (explain, rank, lambda net, given: deletion(net, given, explanation, measures=DROP)):
        with pytest.raises(OptionError, match="give rate=, in frames per second"):
            run(net, frames())
        with pytest.raises(OptionError, match="a source is a path, an array or tensor"):
            run(net, 7)
        with pytest.raises(MediaError, match="this is a URL; download it first"):
            run(net, "https://host/clip.mp4")
    with pytest.raises(OptionError, match="a backend reads files"):
        explain(net, frames(), rate=20, backend="decord")
    with pytest.raises(MediaError, match="this is a URL"):
        vidcam.render(explanation, tmp_path / "none.mp4", source="https://host/clip.mp4")
    with pytest.warns(UntrainedWarning):
        odometry = vidcam.load_model("sfmlearner", weights=None)
    for given in (frames(), "https://host/drive.mp4"):
        with pytest.raises((OptionError, MediaError), match=r"given ndarray|this is a URL"):
            explain(odometry, given)
    with pytest.raises(OptionError, match="rate= is no choice of sfmlearner"):
        explain(odometry, frames(), rate=10)
