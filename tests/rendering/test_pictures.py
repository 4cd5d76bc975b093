"""The contact sheet and the timeline."""

from fractions import Fraction

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from vidcam.errors import MediaError, OptionError, VidcamError
from vidcam.media import VideoWriter
from vidcam.rendering import contact_sheet, figure, timeline
from vidcam.rendering.chart import _draw
from vidcam.rendering.curves import are_probabilities, importance, output, runners_up
from vidcam.rendering.sheet import pick


def texts(drawn: Figure) -> list[str]:
    inside = [text for axes in drawn.axes for text in [*axes.texts, axes._left_title]]
    return [text.get_text() for text in [*drawn.texts, *inside] if text.get_text()]


@pytest.fixture
def rising(make_source, make_explanation):
    """Frame 9 is hottest, then 2, then 3."""
    explanation = make_explanation(make_source())
    explanation.heat[:] = 0
    explanation.heat[[9, 2, 3]] = np.array([0.9, 0.5, 0.4])[:, None, None]
    return explanation


def test_the_sheet_shows_the_hottest_frames_in_the_order_of_time(rising):
    drawn = figure(rising, 3)
    written = texts(drawn)
    assert [t for t in written if t.startswith("#")] == ["#2", "#3", "#1"]
    assert [t for t in written if t.startswith("frame ")] == [
        "frame 2 · heat 0.5",
        "frame 3 · heat 0.4",
        "frame 9 · heat 0.9",
    ]
    assert "wave" in written and "mean probability 0.6" in written and "0.07 s" in written


def test_the_sheet_shows_the_frames_own_pixels(rising):
    drawn = figure(rising, 12, opacity=0)
    shown = [
        axes.images[0].get_array() for axes in drawn.axes if axes.images and axes.images[0].get_array().shape[0] == 48
    ]
    assert len(shown) == 12
    # The bright column of frame i is 4 i.
    assert [int(np.asarray(s)[..., 0].astype(float).mean(axis=0).argmax()) // 4 for s in shown[:8]] == list(range(8))


def test_frames_that_are_close_in_time_can_be_left_out(rising):
    assert pick(rising, 3) == {9: 1, 2: 2, 3: 3}
    assert pick(rising, 2, apart_seconds=0.1) == {9: 1, 2: 2}
    assert 3 not in pick(rising, 3, apart_seconds=0.1)
    assert len(pick(rising, 99)) == 12
    with pytest.raises(OptionError, match="k of at least 1"):
        pick(rising, 0)


@pytest.mark.parametrize(("region", "outlines"), [((-0.5, -0.5, 63.5, 47.5), 0), ((7.5, -0.5, 55.5, 47.5), 2)])
def test_what_the_network_saw_is_outlined_unless_it_is_all(make_source, make_explanation, region, outlines):
    drawn = figure(make_explanation(make_source(), region=region), 1)
    assert len(drawn.axes[0].patches) == outlines


def shape_of_tiles(drawn: Figure) -> float:
    box = drawn.axes[0].get_window_extent()
    return float(box.width / box.height)


@pytest.mark.parametrize(("aspect", "shape"), [("1", 4 / 3), ("64/45", 4 / 3 * 64 / 45), ("8/9", 4 / 3 * 8 / 9)])
def test_pixels_that_are_not_square_keep_their_shape(tmp_path, make_explanation, aspect, shape):
    path = tmp_path / "anamorphic.mp4"
    with VideoWriter(path, width=64, height=48, rate=Fraction(10), pixel_aspect=Fraction(aspect)) as writer:
        for i in range(12):
            writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    assert shape_of_tiles(figure(make_explanation(path), 2)) == pytest.approx(shape, rel=0.01)


@pytest.mark.parametrize(("width", "height"), [(4, 4000), (4000, 4)])
def test_a_strip_of_a_few_pixels_fits_a_sheet(make_source, make_explanation, width, height):
    drawn = figure(make_explanation(make_source(width=width, height=height)), 3)
    assert shape_of_tiles(drawn) == pytest.approx(8 if width > height else 1 / 8, rel=0.02)
    assert max(drawn.get_size_inches()) < 40


def test_sheet_and_timeline_are_written_and_need_force(rising, tmp_path):
    for write in (contact_sheet, timeline):
        path = tmp_path / f"{write.__name__}.png"
        write(rising, path)
        assert imread(path).std() > 0.05
        with pytest.raises(MediaError, match="exists"):
            write(rising, path)
        write(rising, path, force=True)


def test_broken_heat_or_format_leaves_nothing(rising, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match="unknown picture format 'pngg'; did you mean 'png'"):
        timeline(rising, tmp_path / "a.pngg")
    rising.heat[0, 0, 0] = np.nan
    for write in (contact_sheet, timeline):
        with pytest.raises(VidcamError, match="NaN"):
            write(rising, tmp_path / "a.png")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["$x_1 costs $5", "a" * 300, "", "zwei\nZeilen"])
def test_any_label_fits(make_source, make_explanation, tmp_path, name):
    explanation = make_explanation(make_source(), labels=(name, name))
    contact_sheet(explanation, tmp_path / "sheet.png", k=1)
    timeline(explanation, tmp_path / "time.png")


def test_the_timeline_has_a_panel_for_attention_if_there_is_any(make_explanation):
    explanation = make_explanation(attention=np.full(12, 1 / 12))
    assert len(_draw(explanation, 5, 3).axes) == 3
    assert len(_draw(make_explanation(), 5, 3).axes) == 2


def test_the_timeline_marks_the_top_frames_and_every_window(rising):
    panels = _draw(rising, 2, 3).axes
    marked = panels[0].lines[-1].get_xdata()
    np.testing.assert_allclose(marked, rising.seconds[[9, 2]])
    extents = [segment[:, 0].tolist() for segment in panels[1].collections[0].get_segments()]
    assert extents == rising.windows.tolist()
    assert "0.6 wave" in texts(panels[1].figure) and "0.4 golf" in texts(panels[1].figure)


def test_a_flat_explanation_says_that_nothing_is_hot(make_source, make_explanation, tmp_path):
    explanation = make_explanation(make_source(), heat=np.zeros((12, 4, 4), np.float32))
    assert any("no frame has any positive heat" in text for text in texts(_draw(explanation, 5, 3)))
    contact_sheet(explanation, tmp_path / "sheet.png")
    assert (importance(explanation) == 0).all()


def test_outputs_are_linear_between_the_windows_middles(make_explanation):
    explanation = make_explanation(windows=np.array([[0.2, 0.4], [0.0, 0.2]]))
    seconds, values = output(explanation, 0)
    # The windows come in any order; the first one's middle is at 0.3 s.
    assert [np.interp(t, seconds, values) for t in (0, 0.1, 0.2, 0.3, 0.4)] == pytest.approx([0.3, 0.3, 0.6, 0.9, 0.9])


def test_outputs_that_are_no_numbers_are_an_error(make_explanation, tmp_path):
    with pytest.raises(VidcamError, match="outputs are NaN"):
        timeline(make_explanation(probabilities=np.full((2, 2), np.nan)), tmp_path / "time.png")


def test_rivals_and_kinds_of_outputs(make_explanation):
    explanation = make_explanation(probabilities=np.array([[0.2, 0.1, 0.7]]), windows=np.array([[0, 0.4]]))
    assert runners_up(explanation, 3) == [2, 1] and are_probabilities(explanation)
    assert not are_probabilities(make_explanation(probabilities=np.array([[1.2, 0.1]] * 2)))
