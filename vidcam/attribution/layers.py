"""Layers of a network: finding them by name, and reading their output as a grid."""

import math
import re
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from einops import EinopsError, rearrange
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from vidcam.attribution.containers import clip_in, first_tensor, shapes_in, tensors_in
from vidcam.attribution.failures import NetworkError, in_words, of_device
from vidcam.errors import LayerError, unknown

LAYOUTS = (
    *("b c t h w", "b t h w c", "b t c h w", "(b t) c h w", "(b t) h w c"),
    *("(b n) c t h w", "(b n) t h w c", "b (t h w) c", "b c h w", "b h w c"),
)
"""Einops patterns that `infer_layout` knows; a model's entry may name any other. n are parts of a clip."""
FOLDED = ("(b t)", "(b n)")
"""How layouts begin of which a shape does not tell what each row holds."""

WRAPPERS = ("_orig_mod.", "module.")
"""What torch.compile and DataParallel put before the names of layers."""
GROWN = 1.5
"""Convolutions with more padding than they need make an axis longer than the input's, by less than this."""
INPUT = "input"
"""The name under which the network's input is captured as if it were a layer."""
Shape = Sequence[int]


def split_name(layer: str) -> tuple[str, str]:
    """Tell a module's name from which of its outputs is meant: "rnn[1][0]" -> "rnn" and "1.0", "head" -> "head", ""."""
    parts = re.findall(r"\[([^\[\]]*)\]", layer)
    whole = re.fullmatch(r"(.+?)(\[[^\[\]]*\])+", layer)
    return (whole[1], ".".join(part.strip("'\"") for part in parts)) if whole else (layer, "")


def output_name(layer: str, path: str) -> str:
    """Name one of a layer's outputs: "rnn", "1.0" -> "rnn[1][0]"."""
    return split_name(layer)[0] + "".join(f"[{part}]" for part in path.split(".") if part)


def outputs_of(layer: str, output: Any) -> dict[str, Tensor]:
    """Return the floating point tensors that a layer returns, or those of them that its name chooses, by their paths.

    Raises:
        LayerError: there are none.
    """
    name, chosen = split_name(layer)
    found = dict(tensors_in(output))
    if not found:
        raise LayerError(f"layer {name!r} returns no floating point tensor but {type(output).__name__}")
    own = {path: part for path, part in found.items() if not chosen or f"{path}.".startswith(f"{chosen}.")}
    if not own:
        raise LayerError(unknown("output", layer, [output_name(layer, path) for path in found]))
    return own


def choose_output(layer: str, outputs: Mapping[str, Tensor], batch: int, used: Container[str] | None = None) -> str:
    """Return the path of the output that is explained: the only one, or the only one that is used and has a grid.

    Where none has a grid, nothing can be read as a map: then it is the first that is used.

    Args:
        layer: the layer's name.
        outputs: what it returned, by path.
        batch: samples that the network was given.
        used: paths of those that the score depends on; None if that is not known.

    Raises:
        LayerError: several may be meant.
    """
    possible = [path for path in outputs if used is None or path in used] or [*outputs]
    cells = [path for path, part in outputs.items() if _may_have_cells(part.shape, batch)]
    gridded = [path for path in possible if path in cells]
    if len(outputs) == 1 or len(gridded) == 1 or not cells:
        return (gridded or possible)[0]
    listed = ", ".join(f"{output_name(layer, path)!r} {tuple(outputs[path].shape)}" for path in gridded or possible)
    if not gridded:
        raise LayerError(f"of the tensors of layer {layer!r}, the score depends on {listed} alone, without a grid")
    raise LayerError(
        f"layer {layer!r} returns several tensors, of which any could be meant: {listed}; name one of them"
    )


def only_with_cells(outputs: Mapping[str, Tensor], batch: int) -> str | None:
    """Return the path of the only output that has a grid, if there is but one."""
    cells = [path for path, part in outputs.items() if _may_have_cells(part.shape, batch)]
    return cells[0] if len(cells) == 1 else None


def _may_have_cells(shape: Shape, batch: int) -> bool:
    """Whether there are two axes of several numbers behind that of the samples: channels and a grid."""
    return len(shape) >= 3 and shape[0] % max(batch, 1) == 0 and sum(size > 1 for size in shape[1:]) >= 2


def find_layer(net: nn.Module, name: str) -> nn.Module:
    """Return the module of that name, also inside what compiles or spreads it; a LayerError names near matches."""
    modules: dict[str, nn.Module] = dict(net.named_modules(remove_duplicate=False))
    inside, _ = split_name(name)
    names = (wrap + part for part in (name, inside) for wrap in ("", *WRAPPERS))
    found = next((modules[full] for full in names if full in modules), None)
    if found is None or not inside:
        plain = [n.removeprefix(WRAPPERS[0]).removeprefix(WRAPPERS[1]) for n in modules]
        raise LayerError(unknown("layer", name, [n for n in plain if n and f"{n}." not in WRAPPERS]))
    return found


def not_used(net: nn.Module, name: str) -> str:
    """Say that a layer was not reached, and why not where the network was compiled to one piece."""
    inside = split_name(name)[0]
    outer = [(part, module) for part, module in net.named_modules() if not part or inside.startswith(f"{part}.")]
    for part, module in outer:
        if isinstance(module, torch.jit.ScriptModule | torch.fx.GraphModule):
            what = f"its part {part!r}" if part else "the network"
            own = f"{part!r} as a whole and " if part else ""
            return (
                f"layer {name!r} cannot be looked into: {what} is of TorchScript or a traced graph, which runs in one "
                f'piece; {own}"input" can be explained, or any layer of the network that it was made from'
            )
    return f"layer {name!r} is not used in the network's forward pass; choose another layer"


def layer_name(net: nn.Module, layer: str | nn.Module) -> str:
    """Return a layer's name, given that or the module itself; a LayerError if it is no part, or two things."""
    modules = dict(net.named_modules())
    found = layer if isinstance(layer, str) else next((n for n, part in modules.items() if part is layer and n), None)
    if found == INPUT and INPUT in modules:
        raise LayerError(
            f"{INPUT!r} is a layer of the network, and means its input as well; choose a layer inside, or hold the "
            "network in another one, so that the layer's name is longer"
        )
    if found is None:
        raise LayerError(f"a layer is a name or a module of {type(net).__name__}; given {type(layer).__name__}")
    return found


def on_output(module: nn.Module, hook: Callable[..., Any]) -> RemovableHandle:
    """Have a hook `(module, args, output)` called; also by modules of TorchScript that Python calls."""
    if not isinstance(module, torch.jit.ScriptModule):
        return module.register_forward_hook(hook)
    return register_module_forward_hook(lambda own, args, out: hook(own, args, out) if own is module else None)


def token_grid(name: str, output: Any) -> dict[str, tuple[int, ...]]:
    """Read the grid from layers that return (tokens, (t, h, w)), as MViT's blocks do."""
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[1], tuple | list):
        if len(output[1]) == 3 and all(isinstance(n, int) for n in output[1]):
            return {name: tuple(output[1])}
    return {}


class Listed(dict[str, Any]):
    """Inputs by name, for a network that takes them as one list, as SlowFast's two pathways."""


def named_alike(given: Mapping[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return parts by name as a network takes them that was given `given`."""
    return Listed(parts) if isinstance(given, Listed) else parts


def call(net: nn.Module, x: Any) -> Any:
    """Run a network on a tensor, a tuple of arguments, or a mapping of keyword arguments; on one device alone."""
    net = net.module if isinstance(net, nn.DataParallel) else net
    if isinstance(x, Listed):
        return net([*x.values()])
    if isinstance(x, Mapping):
        return net(**x)
    return net(*x) if isinstance(x, tuple) else net(x)


def output_shapes(net: nn.Module, x: Any, names: Sequence[str]) -> dict[str, tuple[torch.Size, Shape | None]]:
    """Run the network once and return each layer's output shape, and its grid if the layer returns that.

    Layers that are not reached, are called several times or return no tensor are left out.
    """
    calls_of: dict[str, list[tuple[torch.Size, Shape | None]]] = {name: [] for name in names}

    def hook(name: str, output: Any) -> None:
        tensor = first_tensor(output)
        if tensor is not None:
            calls_of[name].append((tensor.shape, token_grid(name, output).get(name)))

    with ExitStack() as hooks, torch.no_grad():
        for name in names:
            layer = find_layer(net, name)
            hooks.enter_context(on_output(layer, lambda _m, _a, output, name=name: hook(name, output)))
        with in_words(f"the network, given {shapes_in(x)},", NetworkError):
            call(net, x)
    return {name: calls[0] for name, calls in calls_of.items() if len(calls) == 1}


def grid_axes(layout: str) -> str:
    """Return which of t, h, w a layout has, in that order: "b t h w c" -> "t h w"."""
    return " ".join(axis for axis in "thw" if axis in layout.replace("(", " ").replace(")", " ").split())


def read_grid(tensor: Tensor, layout: str, *, batch: int, grid: Shape | None = None) -> Tensor:
    """Read a layer's output, of any layout, as (B, C, *S) with S the axes t, h, w that the layout has.

    Args:
        tensor: the layer's output.
        layout: einops pattern of the output with the axes b, c, t, h, w: "b t h w c", "(b t) c h w", "b (t h w) c".
        batch: B; needed where time is folded into the batch.
        grid: sizes of t, h, w; needed where they are folded into one axis. One token more than the grid has
            is a class token in front and is left out.

    Raises:
        LayerError: the output does not have that layout or grid.
    """
    axes = grid_axes(layout).split()
    given = grid or ()  # of three sizes it is (t, h, w), of which a layout may have fewer
    sizes = {axis: n for axis, n in zip("thw" if len(given) == 3 else axes, given, strict=False) if axis in axes}
    try:
        cells = _without_class_token(tensor, layout, sizes)
        slots = ["(n t)" if axis == "t" and "(b n)" in layout else axis for axis in axes]
        return rearrange(cells, f"{layout} -> b c {' '.join(slots)}", b=batch, **sizes)
    except (EinopsError, RuntimeError) as error:
        if of_device(error):
            raise
        read = f"shape {tuple(tensor.shape)} for a batch of {batch}" + (f" and grid {tuple(grid)}" if grid else "")
        raise LayerError(f"the layer's output has {read}, which does not fit the layout {layout!r}") from None


def _without_class_token(tensor: Tensor, layout: str, sizes: Mapping[str, int]) -> Tensor:
    """Leave out the first of the tokens if they are one more than the cells of the grid."""
    parts: list[str] = re.findall(r"\([^)]*\)|\S+", layout)
    for axis, part in enumerate(parts):
        names = part.strip("()").split()
        if part.startswith("(") and {"h", "w"} <= set(names) <= set(sizes) and tensor.ndim == len(parts):
            cells = math.prod(sizes[name] for name in names)
            return tensor.narrow(axis, 1, cells) if tensor.shape[axis] == cells + 1 else tensor
    return tensor


def input_layout(x: Tensor) -> str:
    """Tell a clip (B, C, T, H, W) from (B, T, C, H, W), where C is 1 or 3, and from an image (B, C, H, W)."""
    if x.ndim not in (4, 5):
        raise LayerError(f"cannot tell frames and pixels of an input of shape {tuple(x.shape)}; give layout= and grid=")
    if x.ndim == 4:
        return "b c h w"
    return "b t c h w" if x.shape[2] in (1, 3) and x.shape[1] not in (1, 3) else "b c t h w"


def infer_layout(shape: Shape, x: Any, *, grid: Shape | None = None, given_as: str | None = None) -> str:
    """Tell the layout of a layer's output from its shape and the input's, of several the first's; refuse to guess.

    A layout fits if no axis of the grid is larger than the input's (if none does, by no more than wide padding makes
    it) and if height and width shrink alike: to the same number where the input is square, else to within two cells,
    or else as the same convolutions without padding make them (5x22 of 66x200). Time before channels is thought of only
    where the input has it so. Time or parts of a clip in the batch are taken to be sample by sample, which no shape can
    tell.

    Args:
        shape: of the layer's output.
        x: the network's input.
        grid: (t, h, w) of a layer that returns tokens.
        given_as: the input's own layout, as "b t c h w"; None tells it as `input_layout` does.

    Raises:
        LayerError: no layout fits, or several do.
    """
    fitting = fitting_layouts(shape, x, grid=grid, given_as=given_as)
    if len(fitting) == 1:
        return fitting[0]
    given = clip_in(x)
    say = f"could be any of {', '.join(map(repr, fitting))}" if fitting else f"reads as none of {', '.join(LAYOUTS)}"
    of = f" for an input of shape {tuple(given.shape)}" if given is not None else ""
    raise LayerError(f"the layer's output of shape {tuple(shape)} {say}{of}; give layout= (tokens need grid=(t, h, w))")


def fitting_layouts(shape: Shape, x: Any, *, grid: Shape | None = None, given_as: str | None = None) -> list[str]:
    """Return all layouts that a layer's output may have by its shape, see `infer_layout`."""
    given = clip_in(x)
    if given is None:
        return []
    own = given_as or ("b" if len(shape) == 3 else input_layout(given))  # tokens need no more to be told
    sizes = dict(zip(own.split(), given.shape, strict=False))
    ways = ([layout for layout in LAYOUTS if _fits(layout, shape, sizes, grid, *way)] for way in WAYS)
    return next((found for found in ways if found), [])


def _fits(
    layout: str, shape: Shape, given: Mapping[str, int], grid: Shape | None, grown: float, alike: Callable[..., bool]
) -> bool:
    """Tell whether a layer's shape can have the layout.

    Args:
        layout: one of `LAYOUTS`.
        shape: the layer's.
        given: the input's sizes by axis, in its own order.
        grid: (t, h, w) of tokens.
        grown: how many times longer than the input an axis may be.
        alike: (h, w, height, width) -> whether both have shrunk alike.
    """
    if "(t h w)" in layout:
        cells = math.prod(grid) if grid is not None else -1
        return len(shape) == 3 and shape[0] == given["b"] and len(grid or ()) == 3 and shape[1] - cells in (0, 1)
    names = layout.replace("(b t)", "bt").replace("(b n)", "bn").split()
    if len(names) != len(shape) or ("t" in layout) != ("t" in given):
        return False
    if layout == "b t c h w" and " ".join(given) != layout:
        return False
    frames, height, width = given.get("t", 1), given["h"], given["w"]
    size = dict(zip(names, shape, strict=True))
    if "bt" in size:
        if size["bt"] != given["b"] * frames:
            return False
        size |= {"b": given["b"], "t": frames}
    if "bn" in size:
        if size["bn"] <= given["b"] or not given["b"] or size["bn"] % given["b"]:
            return False
        size |= {"b": given["b"]}
    inside = size.get("t", 1) <= grown * frames and size["h"] <= grown * height and size["w"] <= grown * width
    return size["b"] == given["b"] and inside and alike(size["h"], size["w"], height, width)


def _shrunk_alike(h: int, w: int, height: int, width: int) -> bool:
    """Tell whether h x w can be the same network's view of height x width."""
    if h == w and (h <= 2 or height == width):
        return True
    return height != width and (abs(w - h * width / height) <= 2 or abs(h - w * height / width) <= 2)


def _cut_alike(h: int, w: int, height: int, width: int) -> bool:
    """Tell whether convolutions without padding, the same down and across, can make h x w of height x width.

    Of an extent E and a stride S these make (side - E) // S + 1 cells: some S, and some E no less, must do for both.
    """
    for stride in range(1, height // max(h, 1) + 1):
        least = max(height - h * stride, width - w * stride, stride - 1)
        if least < min(height - (h - 1) * stride, width - (w - 1) * stride):
            return True
    return False


WAYS = ((1.0, _shrunk_alike), (GROWN, _shrunk_alike), (1.0, _cut_alike))
"""How a grid may have come of the input, the likeliest first: how much longer it may be, and how its sides compare."""
