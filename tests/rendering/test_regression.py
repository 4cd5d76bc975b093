"""How regressions are drawn: values instead of probabilities, and frames whose gradient vanishes."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from vidcam.errors import VidcamError
from vidcam.media import Frame, open_video
from vidcam.rendering import contact_sheet, figure, render, timeline
from vidcam.rendering.chart import _draw
from vidcam.rendering.curves import are_probabilities, directions, limits, mean, output, vanishing_spans
from vidcam.rendering.drawing import NIGHT
from vidcam.rendering.look import Look
from vidcam.rendering.strips import draw_bar, draw_color_scale
from vidcam.rendering.video import FLAT, scene

RATE = 30000 / 1001


def texts(drawn: Figure) -> list[str]:
    inside = [text for axes in drawn.axes for text in [*axes.texts, axes._left_title, *axes.get_yticklabels()]]
    return [text.get_text() for text in [*drawn.texts, *inside] if text.get_text()]


def near(pixels, color, tolerance=60):
    """Where pixels are of nearly this color."""
    return np.abs(pixels.astype(int) - np.array(to_rgb(color)) * 255).sum(axis=-1) < tolerance


def test_frames_that_vanish_are_runs_in_seconds(make_regression):
    # Frames 4 and 5, until 6 starts; and 11, the last one, until it ends.
    spans = np.array(vanishing_spans(make_regression())) * RATE
    np.testing.assert_allclose(spans, [[4, 6], [11, 12]])
    assert vanishing_spans(make_regression(vanishing=np.zeros((3, 12), bool))) == []


def test_a_classification_has_nothing_of_the_sort(make_explanation):
    explanation = make_explanation(labels=("loss", "golf"))
    assert not explanation.is_vanishing.any() and explanation.loss is None and vanishing_spans(explanation) == []


def test_the_values_are_those_of_the_frames_and_no_probabilities(make_regression):
    explanation = make_regression(target=2)
    seconds, values = output(explanation.of("tz"))
    np.testing.assert_array_equal(seconds, explanation.seconds)
    np.testing.assert_allclose(values, np.linspace(-1, 1.2, 12))
    assert mean(make_regression()) == pytest.approx(0.1) and mean(explanation) == 0.25
    # 0.25 everywhere looks like a probability, and is none.
    assert not are_probabilities(explanation) and limits(explanation) == pytest.approx((0.2, 0.3))


def test_what_keeps_the_loss_low_lowers_it(make_regression):
    assert directions(make_regression()) == ("raises", "lowers")
    assert directions(make_regression(target=0)) == ("lowers", "raises")


def test_a_frame_that_vanishes_has_a_mark_and_no_color(make_regression):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 320, 3)).astype(np.uint8)
    parts = scene(make_regression((320, 120)))
    for index in (4, 5, 11):
        drawn = parts.draw(Frame(index, index / RATE, pixels))
        rows, columns, _ = parts.panels[0].mark.shape
        assert rows < 20 and columns < 120
        np.testing.assert_array_equal(drawn[:rows, :columns], parts.panels[0].mark)
        drawn[:rows, :columns] = pixels[:rows, :columns]
        np.testing.assert_array_equal(drawn, pixels)
    np.testing.assert_array_equal(parts.draw(Frame(0, 0.0, pixels)), pixels)
    assert (parts.draw(Frame(7, 0.2, pixels)) != pixels).any()


def test_a_mark_fits_the_smallest_video(make_regression):
    pixels = np.zeros((8, 16, 3), np.uint8)
    assert scene(make_regression((16, 8))).draw(Frame(4, 0.1, pixels)).shape == (8, 16, 3)


def test_a_video_of_a_regression_has_all_frames_and_its_size(make_source, make_regression, tmp_path):
    explanation = make_regression(make_source())
    assert render(explanation, tmp_path / "out.mp4", bar=True, colorbar=True) == ()
    expected = scene(explanation, Look(bar=True, colorbar=True)).blank.shape
    with open_video(tmp_path / "out.mp4") as video:
        assert (video.info.height, video.info.width) == expected[:2]
        assert len(list(video)) == 12


def test_the_strip_shows_value_loss_gradient_and_gaps(make_regression):
    explanation = make_regression()
    strip = draw_bar(explanation, 640)
    plot = strip.pixels[strip.top : strip.bottom + 1]
    height = strip.bottom - strip.top

    def row(color, seconds):
        return np.flatnonzero(near(plot[:, strip.column(seconds)], color, 90)).mean() / height

    at = 8.5 / RATE
    value = np.interp(8.5, np.arange(12), np.linspace(-1, 1.2, 12))
    assert row(NIGHT["target"], at) == pytest.approx((1.31 - value) / 2.42, abs=0.04)  # -1.11 to 1.31
    # The loss falls from the top to the bottom, whatever its values.
    assert row(NIGHT["loss"], at) == pytest.approx(8.5 / 11, abs=0.05)
    # The gradient grows from 0.5 to 2 but for the gaps; frame 10 has the largest one.
    slope = np.interp(8.5, np.arange(12), np.linspace(0.5, 2, 12)) / (0.5 + 1.5 * 10 / 11)
    area = 0.45 * np.array(to_rgb(NIGHT["importance"])) + 0.55 * np.array(to_rgb(NIGHT["paper"]))
    blue = near(plot[:, strip.column(at)], area, 20)
    assert np.flatnonzero(blue).min() / height == pytest.approx(1 - slope, abs=0.05)
    shaded = near(plot, NIGHT["vanishing"], 12).any(axis=0)
    assert shaded[strip.column(4.5 / RATE)] and shaded[strip.column(11.5 / RATE)]
    assert not shaded[strip.column(3.4 / RATE)] and not shaded[strip.column(7 / RATE)]


@pytest.mark.parametrize("width", [16, 96, 128, 320, 832, 2452])
def test_the_captions_of_a_strip_fit_and_never_overlap(make_regression, width):
    strip = draw_bar(make_regression(), width)
    assert strip.pixels.shape[1] == width
    background = strip.pixels[-1, 0]
    assert width == 16 or (strip.pixels[: strip.top, [0, -1]] == background).all(), "text touches the edge"


def test_the_timeline_shows_values_loss_and_gradient_and_never_a_probability(make_regression):
    drawn = _draw(make_regression(), 5, 3)
    importance, value, lost, slope = drawn.axes
    np.testing.assert_allclose(value.lines[0].get_ydata(), np.linspace(-1, 1.2, 12))
    np.testing.assert_allclose(lost.lines[0].get_ydata(), np.linspace(0.3, 0.1, 12))
    np.testing.assert_allclose(slope.lines[0].get_ydata()[[0, 10]], [0.5, 0.5 + 1.5 * 10 / 11])
    assert slope.get_yscale() == "log"
    for axes in drawn.axes:
        starts = [patch.get_x() * RATE for patch in axes.patches]
        assert starts == pytest.approx([4, 11])
    written = texts(drawn)
    assert not [text for text in written if "probability" in text or "window" in text]
    assert "mean value 0.1 · gradient vanishes at 3 of 12 frames" in written
    assert importance._left_title.get_text().startswith("frame importance")


def test_the_timeline_of_a_method_without_gradients_leaves_that_panel_out_alone(make_regression):
    nowhere = np.zeros((3, 12), bool)
    drawn = _draw(make_regression(gradients=np.full((3, 12), np.nan), vanishing=nowhere), 3, 2)
    assert len(drawn.axes) == 3 and not [text for text in texts(drawn) if "gradient" in text]
    np.testing.assert_allclose(drawn.axes[1].lines[0].get_ydata(), np.linspace(-1, 1.2, 12))
    np.testing.assert_allclose(drawn.axes[2].lines[0].get_ydata(), np.linspace(0.3, 0.1, 12))


def test_without_a_loss_beside_the_target_there_is_no_panel_for_it(make_regression):
    assert len(_draw(make_regression(target=0), 5, 3).axes) == 3
    assert len(_draw(make_regression(labels=("a", "b", "c")), 5, 3).axes) == 3


def test_gradients_that_are_all_zero_can_be_drawn(make_regression, tmp_path):
    nothing = make_regression(
        gradients=np.zeros((3, 12)), vanishing=np.ones((3, 12), bool), heat=np.zeros((12, 4, 4), np.float32)
    )
    timeline(nothing, tmp_path / "time.png")
    draw_bar(nothing, 320)


def test_the_sheet_says_value_and_where_nothing_is_known(make_source, make_regression, tmp_path):
    explanation = make_regression(make_source())
    written = texts(figure(explanation, 12))
    assert "mean value 0.1 · gradient vanishes at 3 of 12 frames" in written
    facts = [text for text in written if text.startswith("frame ")]
    assert "frame 0 · heat 0 · tz -1" in facts and f"frame 7 · heat {1.5 / 16:.3g} · tz 0.4" in facts
    assert [text.split(" · ")[0] for text in facts if "gradient vanishes" in text] == ["frame 4", "frame 5", "frame 11"]
    assert "raises\n1" in written and "-1\nlowers" in written
    contact_sheet(explanation, tmp_path / "sheet.png")


def test_a_signed_color_scale_has_both_ends_and_a_neutral_middle():
    ramp = draw_color_scale(256, 12, "bwr", 0.123, ends=("raises", "lowers"))[:, 14].astype(int)
    assert ramp[30, 0] - ramp[30, 2] > 200 and ramp[240, 2] - ramp[240, 0] > 200
    assert (ramp.min(axis=1)[100:180] > 250).any()


@pytest.mark.parametrize("height", [1, 16, 48, 96, 2160])
@pytest.mark.parametrize("peak", [None, 0.0, 1.23e-12])
def test_a_signed_color_scale_of_any_height(height, peak):
    assert draw_color_scale(height, 9, "bwr", peak, ends=("raises", "lowers")).shape[0] == height


def test_outputs_that_are_no_numbers_are_an_error(make_regression, tmp_path):
    with pytest.raises(VidcamError, match="outputs are NaN or infinite at some frames"):
        timeline(make_regression(outputs=np.full((12, 3), np.nan)), tmp_path / "time.png")


def test_a_target_that_has_a_unit_is_given_in_it(make_regression):
    explanation = make_regression()
    object.__setattr__(explanation, "units", ("", "m", "rad"))
    assert "mean value 0.1 m · gradient vanishes at 3 of 12 frames" in texts(_draw(explanation, 5, 3))
    assert _draw(explanation, 5, 3).axes[1]._left_title.get_text() == "tz, m, at every frame"


def test_heat_that_only_lowers_is_not_flat(make_source, make_regression, tmp_path):
    explanation = make_regression(make_source())
    below = explanation.with_heat(-np.abs(explanation.heat))
    assert render(below, tmp_path / "out.mp4") == ()
    assert render(replace(below, signed=False), tmp_path / "flat.mp4") == (FLAT,)
