import matplotlib
import numpy as np
import pytest

from vidcam.errors import OptionError, VidcamError
from vidcam.rendering.coloring import Spread, overlay, palette, peak, relative
from vidcam.rendering.look import Color


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def test_a_blended_pixel_is_what_one_computes_by_hand(make_explanation):
    # A cell lies exactly on each pixel; "gray" maps heat of half the peak to level 128 (rounded), color 128.
    places = np.arange(4.0)
    heat = np.zeros((1, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 1, 1] = 8, 4
    explanation = make_explanation(
        (4, 4), heat=heat, rows=places, columns=places, seconds=np.zeros(1), region=(-0.5, -0.5, 3.5, 3.5)
    )
    drawn = overlay(explanation, Color(colormap="gray", opacity=0.5)).draw(0, np.full((4, 4, 3), 100, np.uint8))
    # Hottest: 128 of 256 parts white: 100 * 0.5 + 255 * 0.5 = 177.5, up.
    assert drawn[0, 0].tolist() == [178] * 3
    # Half as hot: 64 of 256 parts of gray 128: 100 * 0.75 + 128 * 0.25 = 107.
    assert drawn[1, 1].tolist() == [107] * 3
    drawn[0, 0] = drawn[1, 1] = 100
    assert (drawn == 100).all()


def test_the_blend_is_the_formula_in_floats_within_a_level(make_explanation, pixels):
    heat = np.random.default_rng(1).random((12, 4, 4)).astype(np.float32)
    explanation = make_explanation(heat=heat)
    warmth = explanation.dense(3)[..., None] / heat.max()
    color = matplotlib.colormaps["turbo"](warmth[..., 0])[..., :3] * 255
    expected = pixels * (1 - 0.6 * warmth) + color * 0.6 * warmth
    # Heat is rounded to 1/255 and opacity to 1/256; color changes by at most 5 of 255 from level to level.
    assert np.abs(overlay(explanation).draw(3, pixels) - expected).max() < 3


def test_cold_pixels_and_pixels_outside_the_region_stay_bit_identical(make_explanation, pixels):
    explanation = make_explanation(heat=np.ones((12, 4, 4), np.float32), region=(15.5, 11.5, 47.5, 35.5))
    drawn = overlay(explanation).draw(0, pixels)
    inside = np.zeros((48, 64), bool)
    inside[12:36, 16:48] = True
    np.testing.assert_array_equal(drawn[~inside], pixels[~inside])
    assert (drawn[inside] != pixels[inside]).any(axis=1).mean() > 0.99


def test_frames_without_heat_and_negative_heat_are_the_source(make_explanation, pixels):
    explanation = make_explanation()
    explanation.heat[2] = -3
    layer = overlay(explanation)
    np.testing.assert_array_equal(layer.draw(2, pixels), pixels)
    assert (layer.draw(7, pixels) != pixels).any()


def test_a_flat_explanation_is_the_source_and_never_divides(make_explanation, pixels):
    for scale in ("video", "frame"):
        flat = overlay(make_explanation(heat=np.zeros((12, 4, 4), np.float32)), Color(scale=scale))
        np.testing.assert_array_equal(flat.draw(5, pixels), pixels)


@pytest.mark.parametrize("spread", ["linear", "nearest"])
def test_the_rendered_peak_lies_where_dense_says(make_explanation, spread):
    heat = np.random.default_rng(2).random((12, 4, 4)).astype(np.float32)
    explanation = make_explanation((63, 47), heat=heat, spread=spread)
    # "gray" on black with full opacity: brightness is the square of heat.
    drawn = overlay(explanation, Color(colormap="gray", opacity=1, scale="frame")).draw(
        4, np.zeros((47, 63, 3), np.uint8)
    )
    hottest = explanation.dense(4) >= explanation.dense(4).max() - 1e-6
    np.testing.assert_array_equal((drawn[..., 0] == drawn.max()) & hottest, hottest)
    assert drawn.max() == 255


def test_one_scale_for_the_video_unless_each_frame_has_its_own(make_explanation):
    explanation = make_explanation()
    explanation.heat[3] = explanation.heat[7] / 4
    dark = np.zeros((48, 64, 3), np.uint8)
    for scale, share in (("video", 1 / 16), ("frame", 1.0)):
        layer = overlay(explanation, Color(colormap="gray", opacity=1, scale=scale))
        assert layer.draw(3, dark).max() / layer.draw(7, dark).max() == pytest.approx(share, abs=0.01)


def test_drawing_into_a_view_leaves_the_rest_and_the_source_alone(make_explanation, pixels):
    canvas, before = np.full((50, 130, 3), 7, np.uint8), pixels.copy()
    layer = overlay(make_explanation())
    layer.draw(7, pixels, out=canvas[:48, 64:128])
    np.testing.assert_array_equal(canvas[:48, 64:128], layer.draw(7, pixels))
    np.testing.assert_array_equal(pixels, before)
    assert (canvas[48:] == 7).all() and (canvas[:, :64] == 7).all() and (canvas[:, 128:] == 7).all()


def test_spread_is_the_matrix_product():
    weights = np.random.default_rng(3).random((9, 4)).astype(np.float32)
    weights[weights < 0.5] = 0
    weights[:, 2] = 0
    cells = np.random.default_rng(4).random((4, 5)).astype(np.float32)
    np.testing.assert_allclose(Spread(weights).down(cells), weights @ cells, rtol=1e-5)
    np.testing.assert_allclose(Spread(weights).across(cells.T), cells.T @ weights.T, rtol=1e-5)


def test_opacity_grows_with_heat():
    keep = palette("viridis", 0.7).keep
    assert keep[0].tolist() == [256] * 3 and keep[-1].tolist() == [round(256 * 0.3)] * 3
    assert (np.diff(keep.astype(int), axis=0) <= 0).all()


def test_no_opacity_is_the_source(make_explanation, pixels):
    np.testing.assert_array_equal(overlay(make_explanation(), Color(opacity=0)).draw(7, pixels), pixels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colormap": "turbp"}, "unknown colormap 'turbp'; did you mean 'turbo'"),
        ({"scale": "clip"}, "unknown scale 'clip'; possible: video, frame"),
        ({"opacity": 1.5}, "opacity is from 0 to 1; given 1.5"),
        ({"opacity": float("nan")}, "opacity is from 0 to 1; given nan"),
    ],
)
def test_unknown_options_are_named(make_explanation, options, message):
    with pytest.raises(OptionError, match=message):
        overlay(make_explanation(), Color(**options))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_heat_that_is_no_number_is_an_error(make_explanation, value):
    explanation = make_explanation()
    explanation.heat[5, 0, 0] = value
    with pytest.raises(VidcamError, match="1 of 12 frames, first in frame 5"):
        overlay(explanation)


def signed_cells(make_regression, **changes):
    """Two frames with a cell exactly on each pixel; the largest heat of all is -8, on the first frame."""
    places = np.arange(4.0)
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 1, 1], heat[1, 2, 2] = -8, 4, 2
    facts = {"heat": heat, "rows": places, "columns": places, "seconds": np.zeros(2), "region": (-0.5, -0.5, 3.5, 3.5)}
    blind = {"vanishing": np.zeros((3, 2), bool)}
    return make_regression((4, 4), **facts | blind | changes)


def test_a_signed_pixel_is_what_one_computes_by_hand(make_regression):
    layer = overlay(signed_cells(make_regression), Color(colormap="bwr", opacity=0.5))
    drawn = layer.draw(0, np.full((4, 4, 3), 100, np.uint8))
    # The lowest: 128 of 256 parts blue: 100 * 0.5, and 50 + 127.5.
    assert drawn[0, 0].tolist() == [50, 50, 178]
    # Half as strong, above zero: level 64 of 127, 65 of 256 parts (0.252) of (1, 0.494, 0.494): 100 * 0.748 + ...
    np.testing.assert_allclose(drawn[1, 1], [100 * 0.748 + 255 * 0.252, *[100 * 0.748 + 126 * 0.252] * 2], atol=1.5)
    drawn[0, 0] = drawn[1, 1] = 100
    assert (drawn == 100).all()


def test_signed_heat_is_red_where_it_raises_and_blue_where_it_lowers_and_one_scale_serves_both(make_regression):
    explanation = signed_cells(make_regression)
    gray = np.full((4, 4, 3), 128, np.uint8)
    red, _, blue = (overlay(explanation).draw(0, gray).astype(int) - 128).transpose(2, 0, 1)
    assert blue[0, 0] > 50 > 0 > red[0, 0] and red[1, 1] > 20 > 0 > blue[1, 1]
    weak, own = (overlay(explanation, Color(scale=scale)).draw(1, gray)[2, 2, 0] for scale in ("video", "frame"))
    assert own > 128 + 70 > 128 + 40 > weak > 128


def test_what_is_unsigned_or_lacks_heat_is_drawn_as_ever(make_regression, make_explanation, pixels):
    unsigned = make_regression(signed=False)
    expected = overlay(make_explanation(heat=unsigned.heat)).draw(7, pixels)
    np.testing.assert_array_equal(overlay(unsigned).draw(7, pixels), expected)
    signed = make_regression()
    assert (overlay(signed).draw(7, pixels) != pixels).any()
    for frame in (0, 4, 5, 11):
        np.testing.assert_array_equal(overlay(signed).draw(frame, pixels), pixels)


def test_signed_heat_outside_the_region_leaves_pixels_alone(make_regression, pixels):
    explanation = make_regression(heat=-np.ones((12, 4, 4), np.float32), region=(15.5, 11.5, 47.5, 35.5))
    changed = (overlay(explanation).draw(0, pixels) != pixels).any(axis=2)
    assert changed[12:36, 16:48].mean() > 0.99 and changed.sum() <= 24 * 32


def test_the_strongest_cell_of_either_sign_is_the_peak(make_regression):
    assert peak(make_regression()) == 1 and peak(make_regression(signed=False)) == 0.5
    assert np.abs(relative(make_regression())).max() == 1 and relative(make_regression())[7, 1, 2] == 0.5
