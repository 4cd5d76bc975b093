"""Memory: forwards with fewer samples where there is no room for all of them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from vidcam.attribution.failures import of_memory
from vidcam.errors import ModelError
from vidcam.models.model import Model

Piece = TypeVar("Piece")
Answer = TypeVar("Answer")


class Room:
    """Room for the samples of a forward: once there was not enough, half as many are tried from then on.

    Args:
        model: whose network runs.
        batch: how many samples go through it at once.
        chosen: whether the user chose that, so that it stays so.
        of: what a sample is, for the error.
        helps: what helps beside a smaller batch.
    """

    def __init__(
        self, model: Model, batch: int, *, chosen: bool = True, of: str = "clip", helps: Sequence[str] = ()
    ) -> None:
        self.model, self.batch, self.chosen, self.of, self.helps = model, batch, chosen, of, helps

    def run(self, items: Sequence[Piece], forward: Callable[[Sequence[Piece]], Answer]) -> list[Answer]:
        """Call `forward` with as many of the items at once as there is room for; return what it returned each time.

        Raises:
            ModelError: there is none for one of them, or for as many as the user chose.
        """
        results: list[Answer] = []
        while len(items):
            part = items[: self.batch]
            if done := _tried(forward, part):
                results, items = results + done, items[len(part) :]
            elif len(part) == 1 or self.chosen:
                raise self._error(len(part))
            else:
                self.batch = -(-len(part) // 2)
        return results

    def _error(self, count: int) -> ModelError:
        model, of = self.model, self.of + "s" * (count > 1)
        fewer = ["a smaller batch="] if count > 1 else []
        helps = ", ".join([*fewer, "smaller frames (preprocessing)", *self.helps])
        return ModelError(
            f"{model.device} has no memory for {model.name} on {count} {of} of {model.frames} frames; "
            f"{helps} or another device help"
        )


def _tried(forward: Callable[[Sequence[Piece]], Answer], part: Sequence[Piece]) -> list[Answer]:
    """Return the result, or nothing where memory was full; then the error, which holds what was made, is gone."""
    try:
        return [forward(part)]
    except (RuntimeError, MemoryError) as error:
        if not of_memory(error):
            raise
    return []
