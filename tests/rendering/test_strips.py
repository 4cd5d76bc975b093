import numpy as np
import pytest
from matplotlib.colors import to_rgb

from vidcam.rendering.drawing import NIGHT, shorten, text_width
from vidcam.rendering.strips import draw_bar, draw_color_scale

LONG = "balancing a very long object on the nose while juggling $5 and $6 notes"


def near(pixels, color, tolerance=60):
    """Where pixels are of nearly this color."""
    return np.abs(pixels.astype(int) - np.array(to_rgb(color)) * 255).sum(axis=-1) < tolerance


def test_the_cursor_is_where_the_time_is(make_explanation):
    strip = draw_bar(make_explanation(), 640)
    end = 12 * 1001 / 30000
    assert (strip.start, strip.end) == (0, pytest.approx(end))
    assert [strip.column(t) for t in (0, end / 2, end)] == [
        strip.left,
        round((strip.left + strip.right) / 2),
        strip.right,
    ]
    assert strip.column(-1) == strip.left and strip.column(99) == strip.right


def test_the_cursor_is_drawn_at_its_column_and_only_there(make_explanation):
    strip = draw_bar(make_explanation(), 640)
    canvas = strip.pixels.copy()
    strip.mark(canvas, 0.1)
    changed = np.flatnonzero((canvas != strip.pixels).any(axis=(0, 2)))
    assert abs(changed.mean() - strip.column(0.1)) <= 0.5 and len(changed) == strip.thickness
    assert (canvas[strip.top : strip.bottom + 1, strip.column(0.1)] == 255).all()
    np.testing.assert_array_equal(canvas[: strip.top], strip.pixels[: strip.top])


@pytest.mark.parametrize(("value", "share"), [(1.0, 0.0), (0.5, 0.5), (0.25, 0.75)])
def test_the_strip_shows_the_probability(make_explanation, value, share):
    explanation = make_explanation(
        probabilities=np.array([[value, 1 - value]] * 2), heat=np.zeros((12, 4, 4), np.float32)
    )
    strip = draw_bar(explanation, 640)
    column = strip.pixels[strip.top - 2 : strip.bottom + 3, (strip.left + strip.right) // 2]
    rows = np.flatnonzero(near(column, NIGHT["target"], 200)) - 2
    assert rows.mean() == pytest.approx(share * (strip.bottom - strip.top), abs=1.5)


def test_the_strip_shows_when_the_heat_is(make_explanation):
    strip = draw_bar(make_explanation(probabilities=np.zeros((2, 2))), 640)
    blue = near(strip.pixels[strip.top : strip.bottom - 4], NIGHT["importance"], 90)
    columns = np.flatnonzero(blue.any(axis=0))
    # The hot frame is 7; the curve is linear to its neighbors, which are cold.
    assert strip.column(6 / 29.97) - 2 <= columns.min() and columns.max() <= strip.column(8 / 29.97) + 2
    assert np.flatnonzero(blue.any(axis=1)).min() <= 2


@pytest.mark.parametrize("width", [16, 64, 96, 101, 320, 1280, 3840])
def test_a_bar_is_as_wide_as_the_video_and_its_text_fits(make_explanation, width):
    strip = draw_bar(make_explanation(labels=(LONG, "golf")), width)
    assert strip.pixels.shape[1] == width and strip.pixels.shape[0] % 2 == 0
    background = strip.pixels[-1, 0]
    assert width == 16 or (strip.pixels[: strip.top, [0, -1]] == background).all(), "text touches the edge"


def test_outputs_that_are_no_probabilities_have_their_own_axis(make_explanation):
    strip = draw_bar(make_explanation(probabilities=np.array([[-3.0, 0], [5.0, 0]])), 640)
    rows = np.flatnonzero(near(strip.pixels[:, strip.left + 5], NIGHT["target"]))
    # -3 is the lower end but for the margin of 5 %.
    height = strip.bottom - strip.top
    assert rows.mean() == pytest.approx(strip.bottom - height * 0.05 / 1.1, abs=2)


def test_the_color_scale_runs_from_no_heat_below_to_the_peak_above():
    scale = draw_color_scale(256, 12, "gray", 0.123)
    ramp = scale[:, 8 + 6, 0].astype(int)  # the middle of the colors
    inside = ramp[30:240]
    assert scale.shape[0] == 256 and scale.shape[1] % 2 == 0
    assert inside[0] > 245 and inside[-1] < 15 and (np.diff(inside) <= 0).all()


@pytest.mark.parametrize("height", [1, 16, 48, 96, 2160])
@pytest.mark.parametrize("peak", [None, 0.0, 1.23e-12])
def test_a_color_scale_of_any_height(height, peak):
    assert draw_color_scale(height, 9, "turbo", peak).shape[0] == height


def test_shortening_keeps_both_ends_and_fits():
    short = shorten(LONG, 150, size=12)
    start, end = short.split("…")
    assert LONG.startswith(start) and LONG.endswith(end) and abs(len(start) - len(end)) <= 1
    assert 130 < text_width(short, 12) <= 150
    assert shorten("wave", 150, size=12) == "wave"
    assert shorten("two\nlines", 150, size=12) == "two lines"
    assert shorten(LONG, 1, size=12) == "…"
