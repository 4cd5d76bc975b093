import pytest

from vidcam.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("wave", "wave"),
        ("Größe 走る é$x$", "Größe 走る é$x$"),
        ("👩‍🚀 flies", "👩‍🚀 flies"),
        ("two\nerror: forged", r"two\nerror: forged"),
        ("a\r\tb", r"a\r\tb"),
        ("\x1b[31mred\x07\x9b2J", r"\x1b[31mred\x07\x9b2J"),
        ("caf\udce9.mp4", r"caf\udce9.mp4"),
        ("txt.\u202e4pm", r"txt.\u202e4pm"),
        ("line\u2028break\x85", r"line\u2028break\x85"),
        ("no\u00a0break\u3000wide", "no break wide"),
        ("", ""),
    ],
)
def test_what_cannot_be_shown_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode("utf-8")
