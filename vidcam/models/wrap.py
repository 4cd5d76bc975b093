"""wrap(): any network as a Model, after it has run once or a few times: what it takes, says, and where to look."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vidcam.attribution.layers import Listed
from vidcam.attribution.scores import logits
from vidcam.models.hints import Hints, find_hints
from vidcam.models.inputs import Input
from vidcam.models.labels import read_labels
from vidcam.models.looking import Outlook, find_layers
from vidcam.models.model import Model
from vidcam.models.taking import Taken, find_taken, whole_frames

ASSUMED = "the whole frame in 0..1, assumed: processor= or preprocessing= says otherwise"


def wrap(
    net: nn.Module,
    example: Any = None,
    labels: Sequence[str] | str | Path | None = None,
    processor: Any = None,
    *,
    say: Callable[[str], None] | None = None,
    **slots: Any,
) -> Model:
    """Find out what a network takes, says and looks at, and return it as a `Model`.

        model = vidcam.wrap(AutoModelForVideoClassification.from_pretrained(folder), processor=processor)
        model = vidcam.wrap(timm.create_model("resnet50", pretrained=True))
        model = vidcam.wrap(net, example=torch.rand(1, 3, 16, 112, 112), labels="classes.txt")

    What is told is taken: by the arguments, by `example`, by the processor, by the network's own configuration. The
    rest is measured by running the network on noise, and what stays open is refused, with the argument that settles
    it. How each was found stands in the model's `concluded`.

    Args:
        net: any network; it is left as it was found.
        example: an input that it takes: a tensor (B, C, T, H, W), (B, T, C, H, W) or (B, C, H, W), or several by the
            names of its arguments; of its values only the sizes matter.
        labels: names of the classes, or a text or JSON file of them.
        processor: how frames are made into its input, see `vidcam.Preprocessing.from_processor`.
        say: is told what was concluded, line by line.
        slots: of `vidcam.Model`, which are not looked for: `layer`, `frames`, `preprocessing`, `output`, ...

    Raises:
        ModelError: it runs on nothing that was tried, or on several things of which any may be meant.
        LayerError: no layer of it reads as a grid that its answer depends on.
        OptionError: its answer is not known among what it returns, or a slot that does not exist.
    """
    finding = _Finding(net, find_hints(net, processor), dict(slots))
    if labels is not None:
        finding.slots["labels"] = read_labels(labels) if isinstance(labels, str | Path) else tuple(labels)
    model = finding.model(example)
    for line in model.concluded:
        if say is not None:
            say(line)
    return model


class _Finding:
    """What is found of a network, slot by slot, and how."""

    def __init__(self, net: nn.Module, hints: Hints, slots: dict[str, Any]) -> None:
        self.net, self.hints, self.slots = net, hints, slots
        self.lines: list[str] = []

    def conclude(self, slot: str, value: Any, how: str) -> None:
        """Take a value for a slot, and note how it was found; what was told stays."""
        if slot not in self.slots:
            self.slots[slot] = value
            self.lines.append(f"{slot}: {how}")

    def model(self, example: Any) -> Model:
        if self.hints.labels is not None:
            names = self.hints.labels
            self.conclude("labels", names.value, f"{len(names.value)} classes, {names.where}")
        taken = find_taken(self.net, self.hints, self.slots, example)
        self._conclude_input(taken)
        if "layer" not in self.slots:
            self._conclude_layer(find_layers(self.net, taken.x, taken.layout, self._answer))
        return Model(self.net, **self.slots, concluded=tuple(self.lines))

    def _conclude_input(self, taken: Taken) -> None:
        frames, size, pixels = self.hints.frames, self.hints.size, self.hints.preprocessing
        self.conclude("input_layout", taken.layout, f"{taken.layout}, as it runs on {taken.shapes}")
        self.conclude("frames", taken.frames, f"{taken.frames}, {frames.where if frames else 'as it runs'}")
        own = whole_frames(taken.size, int(self.hints.channels.value)) if pixels is None else pixels.value
        height, width = taken.size
        how = f"{height}x{width}, " + (
            f"{pixels.where}" if pixels else f"{size.where if size else 'as it runs'}; {ASSUMED}"
        )
        if not taken.every:
            self.conclude("preprocessing", own, how)
        elif "inputs" not in self.slots:
            own = self.slots.pop("preprocessing", own)
            self.slots["inputs"] = {name: Input(own, every) for name, every in taken.every.items()}
            self.slots["as_list"] = isinstance(taken.x, Listed)
            each = ", ".join(f"{name} of every {every}" for name, every in taken.every.items())
            self.lines.append(f"inputs: {each}; {how}")

    def _conclude_layer(self, found: list[Outlook]) -> None:
        first, *others = found
        why = "the last that all of the answer passes through" if first.holds_all else "the last of its stream"
        self.conclude("layer", first.layer, f"{first.layer}, {first.cells}; {why}")
        for other in others:
            self.lines.append(f"other stream: layer={other.layer!r}, {other.cells}")
        sees = {look.layer: self._input_of(look) for look in found if look.sees}
        if sees:
            self.conclude("sees", sees, ", ".join(f"{layer} {name}" for layer, name in sees.items()))

    def _input_of(self, look: Outlook) -> str:
        """Choose the input that a layer's geometry is measured against: of several that it depends on, the last that
        has no fewer frames than the layer has slots."""
        inputs = self.slots["inputs"]
        fits = [name for name in look.sees if -(-self.slots["frames"] // inputs[name].every) >= look.grid[0]]
        return min(fits or look.sees, key=lambda name: self.slots["frames"] / inputs[name].every)

    def _answer(self, output: Any) -> Tensor:
        return logits(output, self.slots.get("output"), len(self.slots.get("labels", ())) or None)
