from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from vidcam.errors import MediaError, OptionError, VidcamError
from vidcam.media import Frame, VideoWriter, open_video
from vidcam.rendering import render
from vidcam.rendering.look import Look
from vidcam.rendering.video import FLAT, scene

UNEVEN = np.array([0.0, 0.04, 0.08, 0.2, 0.24, 0.4, 0.44, 0.6, 0.64, 0.68])


def read(path):
    with open_video(path) as video:
        return video.info, list(video)


@pytest.mark.parametrize("uneven", [False, True])
def test_frames_size_rate_and_timestamps_are_the_sources(make_source, make_explanation, tmp_path, uneven):
    source = make_source(seconds=UNEVEN if uneven else None)
    assert render(make_explanation(source), tmp_path / "out.mp4") == ()
    info, frames = read(tmp_path / "out.mp4")
    expected, originals = read(source)
    assert (info.width, info.height) == (64, 48)
    assert uneven or info.rate == expected.rate == Fraction(30000, 1001)
    # Times within a millisecond of the frame rate's grid are moved onto it.
    np.testing.assert_allclose([f.seconds for f in frames], [f.seconds for f in originals], atol=1e-3)


def test_only_the_hot_frame_changes_and_in_the_right_place(make_source, make_explanation, tmp_path):
    source = make_source()
    render(make_explanation(source), tmp_path / "out.mp4", opacity=1)
    _, frames = read(tmp_path / "out.mp4")
    change = np.array(
        [np.abs(a.pixels.astype(int) - b.pixels).sum(axis=2) for a, b in zip(frames, read(source)[1], strict=True)]
    )
    assert change.sum(axis=(1, 2)).argmax() == 7
    # Cell (1, 2) of 4x4 lies on rows 12 to 23, columns 32 to 47. Encoding blurs by a few pixels.
    weights = change[7] * (change[7] > 100)
    rows, columns = np.arange(48) @ weights.sum(axis=1), np.arange(64) @ weights.sum(axis=0)
    assert rows / weights.sum() == pytest.approx(17.5, abs=2)
    assert columns / weights.sum() == pytest.approx(39.5, abs=2)


def test_odd_sizes_are_padded_and_said(make_source, make_explanation, tmp_path):
    folder = tmp_path / "odd.gif"
    with VideoWriter(folder, width=63, height=47, rate=Fraction(25)) as writer:
        for i in range(12):
            writer.write(np.full((47, 63, 3), 20 * i, np.uint8), i / 25)
    explanation = make_explanation(folder)
    assert (explanation.width, explanation.height) == (63, 47)
    notes = render(explanation, tmp_path / "out.mp4")
    assert any("64x48" in note for note in notes)
    assert len(read(tmp_path / "out.mp4")[1]) == 12


def test_pixels_keep_their_shape(make_explanation, tmp_path):
    source = tmp_path / "wide.mp4"
    with VideoWriter(source, width=64, height=48, rate=Fraction(25), pixel_aspect=Fraction(64, 45)) as writer:
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    render(make_explanation(source), tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4")[0].pixel_aspect == Fraction(64, 45)


@pytest.mark.parametrize("seconds", [0.1, 5])
def test_a_gif_of_one_frame_is_shown_as_long(make_explanation, tmp_path, seconds):
    source = tmp_path / "one.gif"
    Image.new("RGB", (64, 48), (90, 20, 30)).save(source, duration=1000 * seconds)
    explanation = make_explanation(source)
    render(explanation, tmp_path / "out.mp4")
    info, frames = read(tmp_path / "out.mp4")
    assert (len(frames), info.duration_seconds) == (1, pytest.approx(seconds, abs=1e-3))
    assert explanation.duration_seconds == pytest.approx(seconds)


def test_side_by_side_with_bar_and_color_scale_holds_all_parts(make_explanation):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    explanation = make_explanation()
    plain = scene(explanation).draw(Frame(7, 0.2, pixels))
    assert plain.shape == pixels.shape
    drawn = scene(explanation, Look(layout="side_by_side", bar=True, colorbar=True)).draw(Frame(7, 0.2, pixels))
    np.testing.assert_array_equal(drawn[:48, :64], pixels)
    np.testing.assert_array_equal(drawn[:48, 64:128], plain)
    assert drawn.shape[0] > 48 + 40 and drawn.shape[1] > 128 + 20


def test_the_strips_never_cover_the_picture_and_only_the_cursor_moves(make_explanation):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    parts = scene(make_explanation(), Look(bar=True))
    early, late = (parts.draw(Frame(0, seconds, pixels)) for seconds in (0.0, 0.3))
    np.testing.assert_array_equal(early[:48], pixels)
    columns = np.flatnonzero((early != late).any(axis=(0, 2)))
    assert columns.tolist() == [parts.bar.column(0.0), parts.bar.column(0.3)]


def test_a_flat_explanation_is_the_source_and_says_so(make_source, make_explanation, tmp_path):
    explanation = make_explanation(make_source(), heat=np.zeros((12, 4, 4), np.float32))
    assert render(explanation, tmp_path / "out.mp4", bar=True) == (FLAT,)


def test_the_sound_is_carried_over_unless_unwanted(make_source, make_explanation, tmp_path):
    source = tmp_path / "sound.mp4"
    with av.open(str(make_source())) as silent, av.open(str(source), "w") as output:
        picture = output.add_stream_from_template(silent.streams.video[0])
        sound = output.add_stream("aac", rate=44100, layout="mono")
        for packet in silent.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        for i in range(17):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 44100, 1024 * i
            output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    explanation = make_explanation(source)
    render(explanation, tmp_path / "with.mp4")
    render(explanation, tmp_path / "without.mp4", audio=False)
    assert read(tmp_path / "with.mp4")[0].has_audio and not read(tmp_path / "without.mp4")[0].has_audio


def test_progress_counts_to_the_end(make_source, make_explanation, tmp_path):
    seen = []
    render(make_explanation(make_source()), tmp_path / "out.mp4", progress=lambda *done: seen.append(done))
    assert seen == [(i, 12) for i in range(1, 13)]


def test_an_exception_in_the_middle_propagates_and_leaves_nothing(make_source, make_explanation, tmp_path):
    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    explanation = make_explanation(make_source())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        render(explanation, tmp_path / "out.mp4", progress=stop)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("frames", "message"), [(11, "more than the 11"), (13, "12 frames instead of the 13")])
def test_a_source_with_other_frames_has_changed(make_source, make_explanation, tmp_path, frames, message):
    explanation = make_explanation(
        make_source(), heat=np.ones((frames, 4, 4), np.float32), seconds=np.arange(frames) / 30
    )
    with pytest.raises(MediaError, match=message):
        render(explanation, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_source_of_another_size_is_another_video(make_source, make_explanation, tmp_path):
    explanation = make_explanation(make_source())
    with pytest.raises(MediaError, match="is 32x32, but what was explained was 64x48"):
        render(explanation, tmp_path / "out.mp4", source=make_source("small.mp4", width=32, height=32))


def test_a_source_that_moved_is_asked_for(make_source, make_explanation, tmp_path):
    source = make_source()
    explanation = make_explanation(source)
    moved = source.rename(tmp_path / "moved.mp4")
    with pytest.raises(MediaError, match=r"source.mp4' does not exist; give source="):
        render(explanation, tmp_path / "out.mp4")
    render(explanation, tmp_path / "out.mp4", source=moved)
    with pytest.raises(OptionError, match="give source="):
        render(make_explanation(), tmp_path / "out.mp4", force=True)


def test_an_existing_file_needs_force_and_the_source_is_never_replaced(make_source, make_explanation, tmp_path):
    source = make_source()
    explanation, content = make_explanation(source), source.read_bytes()
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(MediaError, match="exists"):
        render(explanation, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_text() == "mine"
    render(explanation, tmp_path / "out.mp4", force=True)
    with pytest.raises(MediaError, match="is the source itself"):
        render(explanation, source, force=True)
    assert source.read_bytes() == content


def test_unknown_options_and_broken_heat_leave_nothing(make_source, make_explanation, tmp_path):
    explanation = make_explanation(make_source())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OptionError, match="unknown layout 'side by side'; did you mean 'side_by_side'"):
        render(explanation, tmp_path / "out.mp4", layout="side by side")
    explanation.heat[0, 0, 0] = np.nan
    with pytest.raises(VidcamError, match="NaN"):
        render(explanation, tmp_path / "out.mp4")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.shared
@pytest.mark.parametrize("name", ["video_90.mov", "video_270.mov", "video_180.mov"])
def test_a_rotated_video_is_drawn_upright(data, make_explanation, tmp_path, name):
    explanation = make_explanation(data / "nasty" / name)
    render(explanation, tmp_path / "out.mp4")
    info, frames = read(tmp_path / "out.mp4")
    assert (info.width, info.height) == (explanation.width, explanation.height)
    original = read(data / "nasty" / name)[1][0]
    assert np.abs(frames[0].pixels.astype(int) - original.pixels).mean() < 6  # cold: lossy coding only


@pytest.mark.shared
def test_a_packed_avi_keeps_its_frames(data, make_explanation, tmp_path):
    source = next((data / "hmdb51" / "videos" / "wave").glob("*.avi"))
    explanation = make_explanation(source)
    render(explanation, tmp_path / "out.mp4")
    np.testing.assert_allclose([f.seconds for f in read(tmp_path / "out.mp4")[1]], explanation.seconds, atol=1e-3)
