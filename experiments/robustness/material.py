"""Sound inputs of every kind, and what becomes of them: bytes damaged anywhere, and deep changes that files survive."""

import io
import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

NUMBERS = ("nan", "inf", "-1", "0", "1e999", "1e-320", "99999999999999999999", "2.5", "", "true", "null", "0x10", "١٢")
TEXTS = ("", " ", "\0", "\n", '"', ",", "a,b", "../x", "é", "\u202e", "😀", "[" * 3000, "{" * 3000, "#", "=", "none")
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2.5, 10**9, 10**30, float("nan"), float("inf"), -float("inf")),
    *("", "x", "😀", "\0", [], [1], [[1]], [None], ["a", "a"], {}, {"a": 1}, [0, 0, 0, 0], [float("nan")] * 4),
)
Made = tuple[str, bytes]
"""The end of a file's name, and what is in it."""


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change bytes anywhere: flipped, overwritten, cut out, doubled, put in, cut off."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        at, size = rng.randrange(len(data) + 1), rng.choice((1, 2, 4, 16, 200))
        data = rng.choice(
            (
                data[:at] + rng.randbytes(size) + data[at + size :],
                data[:at] + bytes(size) + data[at + size :],
                data[:at] + data[at + size :],
                data[:at] + data[max(0, at - size) : at] + data[at:],
                data[:at] + rng.randbytes(size) + data[at:],
                data[:at],
            )
        )
    return data


def reworded(text: str, rng: random.Random) -> bytes:
    """Replace words and numbers of a text, or change its lines."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        words = list(re.finditer(r"[\w.+-]+", text)) or [re.match("", text)]
        word = rng.choice(words)
        assert word is not None
        if rng.random() < 0.8:
            text = text[: word.start()] + rng.choice(NUMBERS + TEXTS) + text[word.end() :]
        else:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice([*lines, *TEXTS]))
            text = "\n".join(lines)
    return text.encode("utf-8", "surrogatepass")


def changed_value(found: Any, rng: random.Random) -> Any:
    """Replace one value somewhere in nested lists and dicts."""
    if isinstance(found, dict) and found and rng.random() < 0.8:
        key = rng.choice(sorted(found))
        return {**found, key: changed_value(found[key], rng)}
    if isinstance(found, list) and found and rng.random() < 0.6:
        at = rng.randrange(len(found))
        return [*found[:at], changed_value(found[at], rng), *found[at + 1 :]]
    return rng.choice(VALUES)


def changed_array(array: Any, rng: random.Random) -> Any:
    """Give an array another kind, shape or order, or numbers that cannot be."""
    if array.dtype.kind not in "fiub" or not array.size:
        return array
    spoiled = array.astype(float).copy()
    spoiled.flat[rng.randrange(spoiled.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e300, -1))
    return rng.choice(
        (
            lambda: spoiled,
            lambda: array[::-1].copy(),
            lambda: array[:-1],
            lambda: array[..., :0],
            lambda: array[None],
            lambda: array.astype(complex),
            lambda: array.astype("U8"),
            lambda: array.astype(np.int8),
            lambda: array.ravel(),
            lambda: np.repeat(array, 2, 0),
            lambda: array * 0,
        )
    )()


def explanation(sound: dict[str, Any], rng: random.Random) -> Made:
    """Change one or two arrays or facts of a saved explanation."""
    arrays = dict(sound)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(arrays))
        if name == "facts":
            arrays[name] = np.array(json.dumps(changed_value(json.loads(str(arrays[name])), rng)))
        elif rng.random() < 0.1:
            del arrays[name]
            arrays.setdefault("facts", sound["facts"])
        else:
            arrays[name] = changed_array(arrays[name], rng)
    held = io.BytesIO()
    np.savez(held, **arrays)
    return ".npz", held.getvalue()


def weights(state: dict[str, Any], facts: dict[str, Any], rng: random.Random) -> Made:
    """Change tensors, names or the description of a checkpoint, as safetensors or as a nested state dict."""
    given: dict[str, Any] = dict(state)
    for _ in range(rng.choice((0, 1, 2))):
        key = rng.choice(sorted(given))
        value = given[key]
        given[key] = rng.choice(
            (
                lambda v: v.reshape(-1)[:1],
                lambda v: v * torch.nan,
                lambda v: v.half(),
                lambda v: v.to(torch.int32),
                lambda v: v.to(torch.complex64),
                lambda v: v[None],
                lambda v: v.reshape(-1)[:0],
                lambda v: torch.zeros(1).expand(2**20, 2**12),
            )
        )(value)
        if rng.random() < 0.2:
            given[rng.choice(("fc.weight", "x", "", "fc"))] = given.pop(key)
    told = changed_value(facts, rng)
    if rng.random() < 0.6:
        whole = {key: value.contiguous() for key, value in given.items() if value.numel() < 2**22}
        return ".safetensors", save(whole, metadata={"vidcam": json.dumps(told)})
    nested: Any = {rng.choice(("", "module.", "net.")) + key: value for key, value in given.items()}
    for key in rng.sample(("state_dict", "model", "ema", "net"), rng.randrange(3)):
        nested = {key: nested, "epoch": 3}
    if rng.random() < 0.2:
        nested["model"] = nested
    held = io.BytesIO()
    torch.save(nested, held)
    return ".pth", held.getvalue()


def picture(rng: random.Random) -> Made:
    """Draw a small picture; a PNG may claim another size, with a checksum that holds."""
    kind = rng.choice(("png", "jpeg", "bmp", "webp", "tiff", "ppm"))
    held = io.BytesIO()
    Image.fromarray(np.frombuffer(rng.randbytes(24 * 32 * 3), np.uint8).reshape(24, 32, 3)).save(held, kind)
    data = held.getvalue()
    if kind == "png" and rng.random() < 0.7:
        header = bytearray(data[12:29])
        header[4:12] = struct.pack(">II", *(rng.choice((0, 1, 31, 33, 4000, 14000, 2**31 - 1)) for _ in range(2)))
        data = data[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + data[33:]
    return f".{kind}", data


def videos(folder: Path) -> list[tuple[str, bytes]]:
    """Write small clips of several kinds."""
    from vidcam.media import VideoWriter

    rng, made = np.random.default_rng(0), []
    for end in (".mp4", ".mkv", ".gif", ".webm"):
        with VideoWriter(folder / f"sound{end}", width=64, height=48, rate=Fraction(10), force=True) as writer:
            for _ in range(12):
                writer.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
        made.append((end, (folder / f"sound{end}").read_bytes()))
    for end, codec in ((".avi", "mpeg4"), (".ts", "mpeg2video"), (".mpg", "mpeg1video"), (".wmv", "wmv2")):
        _encode(folder / f"sound{end}", codec)
        made.append((end, (folder / f"sound{end}").read_bytes()))
    pictures = [Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(6)]
    pictures[0].save(folder / "sound.webp", save_all=True, append_images=pictures[1:], duration=100)
    return [*made, (".webp", (folder / "sound.webp").read_bytes())]


def _encode(path: Path, codec: str) -> None:
    """Write a clip in a container that vidcam reads and does not write."""
    rng = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(12):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def damaged_late(data: bytes, rng: random.Random) -> bytes:
    """Damage bytes behind the first twentieth, so that the file is still known for what it is."""
    head = max(len(data) // 20, 64)
    return data[:head] + damaged(data[head:], rng)


Maker = Callable[[random.Random, bool], Made]
"""Chance, and whether the change is deep, to one input."""
