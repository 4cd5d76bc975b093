"""Numbers of a report, by hand."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from vidcam.data.manifest import Row
from vidcam.training.classifier.module import class_weights
from vidcam.training.classifier.report import Predictions, load_predictions, make_report, merge

FACTS: dict[str, Any] = dict.fromkeys(("model", "checkpoint", "manifest", "split", "split_digest"), "x")


def said(truth: list[int], right: list[list[float]], video: list[int] | None = None) -> Predictions:
    count = len(truth)
    videos = np.array(video if video is not None else range(count))
    return Predictions(videos, np.arange(count), np.array(truth), np.array(right))


def report(predictions: Predictions, labels: list[str], count: int) -> Any:
    rows = [Row(Path(f"{i}.mp4"), "a", "test") for i in range(count)]
    return make_report(predictions, rows, labels, clips=1, trained_on=False, **FACTS)


def test_a_video_is_the_mean_of_its_clips() -> None:
    """Two of three clips of video 0 are wrong by a little and one is right by much: the video is right."""
    found = report(said([0, 0, 0, 1], [[0.4, 0.6], [0.4, 0.6], [1.0, 0.0], [0.3, 0.7]], [0, 0, 0, 1]), ["a", "b"], 2)
    assert found.per_clip.count == 4 and found.per_clip.top1 == 0.5
    assert found.per_video.count == 2 and found.per_video.top1 == 1.0
    assert found.per_video.loss == pytest.approx((-np.log(0.6) - np.log(0.7)) / 2)
    assert found.confusion == ((1, 0), (0, 1))


def test_rows_are_true_and_columns_said() -> None:
    eye = np.eye(3)
    found = report(said([0, 0, 0, 1], [eye[0], eye[1], eye[1], eye[1]]), ["a", "b", "c"], 4)  # type: ignore[list-item]
    assert found.confusion == ((1, 2, 0), (0, 1, 0), (0, 0, 0))
    assert found.per_class == {"a": 1 / 3, "b": 1.0, "c": None}
    assert found.mean_class_accuracy == pytest.approx(2 / 3)
    assert found.per_video.top5 is None and found.auc is None


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, truth = [0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]  # of 4 pairs, 0.35 against 0.4 is the wrong way round
    found = report(said(truth, [[1 - s, s] for s in scores]), ["a", "b"], 4)
    assert found.auc == pytest.approx(0.75)


def test_top_five_of_seven() -> None:
    probabilities = np.array([[7, 6, 5, 4, 3, 2, 1]] * 2) / 28
    found = report(said([4, 5], probabilities.tolist()), list("abcdefg"), 2)
    assert found.per_video.top1 == 0 and found.per_video.top5 == 0.5


def test_files(tmp_path: Path) -> None:
    found = report(said([0, 1], [[0.9, 0.1], [0.2, 0.8]]), ["a", "b"], 2)
    assert {path.name for path in found.write(tmp_path)} == {"report.json", "confusion.png", "roc.png"}
    assert json.loads((tmp_path / "report.json").read_text())["per_video"]["top1"] == 1.0
    picture = matplotlib.image.imread(tmp_path / "confusion.png")
    assert picture.std() > 0.05


def drawn(found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    texts: list[Text] = []
    draw = FigureCanvasAgg.print_png

    def kept(canvas: Any, path: Path) -> None:
        texts.extend(canvas.figure.findobj(Text))
        draw(canvas, path)

    monkeypatch.setattr(FigureCanvasAgg, "print_png", kept)
    found.write(tmp_path)
    return texts


def test_names_of_classes_are_no_mathematics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["$\\frac{$", "two\nlines \udce9 " + "long " * 40]
    texts = drawn(report(said([0, 1], [[0.9, 0.1], [0.2, 0.8]]), names, 2), tmp_path, monkeypatch)
    assert texts and not any(text.get_parse_math() for text in texts)
    written = {text.get_text() for text in texts}
    assert names[0] in written
    assert any(text.startswith(r"two\nlines \udce9 long") and "…" in text and len(text) < 60 for text in written)


def test_of_20000_classes_there_is_no_matrix(tmp_path: Path) -> None:
    """It would have 400 million cells; all other numbers are there."""
    labels = [f"label {i}" for i in range(20_000)]
    probabilities = np.zeros((3, len(labels)))
    probabilities[[0, 1, 2], [7, 8, 8]] = 1
    found = report(said([7, 8, 9], probabilities), labels, 3)  # type: ignore[arg-type]
    assert found.confusion == () and found.per_video.top1 == pytest.approx(2 / 3)
    assert {name: share for name, share in found.per_class.items() if share is not None} == {
        "label 7": 1.0,
        "label 8": 1.0,
        "label 9": 0.0,
    }
    assert [path.name for path in found.write(tmp_path)] == ["report.json"]
    assert (tmp_path / "report.json").stat().st_size < 2e6


def test_parts_are_merged_once(tmp_path: Path) -> None:
    one = Predictions(np.array([0, 1]), np.array([0, 0]), np.array([1, 0]), np.eye(2), {3: "broken"})
    again = Predictions(np.array([1, 1]), np.array([0, 1]), np.array([0, 0]), np.eye(2))
    merged = merge([one, again])
    assert merged.video.tolist() == [0, 1, 1] and merged.clip.tolist() == [0, 0, 1]
    merged.save(tmp_path / "p.npz")
    read = load_predictions(tmp_path / "p.npz")
    assert read.broken == {3: "broken"} and np.array_equal(read.probabilities, merged.probabilities)


def test_class_weights_have_a_mean_of_one_over_the_samples() -> None:
    weights = class_weights([0, 0, 0, 1], 3)
    assert torch.allclose(weights[:2], torch.tensor([2 / 3, 2.0]))
    assert weights[[0, 0, 0, 1]].mean() == pytest.approx(1.0)
