"""How the library's own language models are trained: by recipe, from a checkpoint where there is one, watched.

Rotary positions enter attention as differences only, so that whatever is learned at the beginning of a text holds in
the middle of one too; a quarter of the rows start without the mark of the beginning, as a window over a long text does.
What an update learns from follows from the recipe and the update's number, so that a training that was killed goes on
from its last checkpoint and ends, on the same number of threads, with the same weights to the bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from remanence.errors import Diverged
from remanence.files import write_atomically
from remanence.models.byte_tokenizer import ByteTokenizer
from remanence.models.reading_matter import rows
from remanence.models.recipe import CONFIGURATION, Recipe
from remanence.state import read_state, write_state

_CHECKPOINT = "training.safetensors"
_LAST = 0.05  # of the largest learning rate, at the end
_CLIP = 1.0  # the norm of a gradient


@dataclass(frozen=True)
class Progress:
    """How far a training has come: updates done, of how many, and the loss of the last."""

    update: int
    of: int
    loss: float


def prepare(wanted: Recipe, *, checkpoint_every: float = 60.0) -> Iterator[Progress]:
    """Train a model by its recipe, yielding after every update; at the end it lies in the recipe's folder.

    Parameters
    ----------
    wanted:
        The recipe.
    checkpoint_every:
        Seconds between checkpoints.
    """
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(wanted.folder / ".lock"):
        if wanted.ready:
            return
        training = Training(wanted)
        checkpoint = wanted.folder / _CHECKPOINT
        if checkpoint.exists():
            training.load(checkpoint)
        saved = time.monotonic()
        while training.update < wanted.updates:
            yield Progress(training.update + 1, wanted.updates, training.step())
            if time.monotonic() - saved >= checkpoint_every:
                training.save(checkpoint)
                saved = time.monotonic()
        keep(wanted, training.model)
        checkpoint.unlink(missing_ok=True)


class Training:
    """A model on its way: weights, optimizer, and the number of updates done."""

    def __init__(self, wanted: Recipe) -> None:
        self.recipe = wanted
        self.model = wanted.build().train()
        parameters = dict(self.model.named_parameters())
        matrices = [value for name, value in parameters.items() if value.dim() == 2 and "embed" not in name]
        others = [value for name, value in parameters.items() if not (value.dim() == 2 and "embed" not in name)]
        groups = [{"params": matrices, "weight_decay": wanted.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=wanted.rate, betas=(0.9, 0.98))
        self.update = 0

    def step(self) -> float:
        """One update; its loss."""
        length, count = self._stage()
        given = rows(self.recipe.seed, self.update, count, length, self.recipe.mix)
        scores = self.recipe.scores(self.model, given.tokens[:, :-1])
        wrong = functional.cross_entropy(scores.flatten(0, 1), given.tokens[:, 1:].flatten(), reduction="none")
        weights = given.weights.flatten()
        loss = (wrong * weights).sum() / weights.sum()
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self.update += 1
        if not math.isfinite(found := float(loss.detach())):
            raise Diverged(f"the loss of {self.recipe.name} became {found} at update {self.update}: lower the rate")
        return found

    def _stage(self) -> tuple[int, int]:
        """The length of the rows of this update, and how many there are."""
        lengths = [length for length, updates in self.recipe.stages for _ in range(updates)]
        length = lengths[self.update]
        return length, max(1, self.recipe.tokens // length)

    def _rate(self) -> float:
        risen = min(1.0, (self.update + 1) / self.recipe.warm_up)
        fallen = _LAST + (1 - _LAST) * (1 + math.cos(math.pi * self.update / self.recipe.updates)) / 2
        return self.recipe.rate * risen * fallen

    def save(self, path: Path) -> None:
        """Keep all that the next updates follow from."""
        tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in self.model.named_parameters()}
        for place, kept in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": value for name, value in kept.items()}
        write_state(path, tensors, {"update": self.update})

    def load(self, path: Path) -> None:
        """Go on from what was kept."""
        tensors, structure = read_state(path)
        weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        for name, parameter in self.model.named_parameters():
            parameter.data.copy_(weights[name])
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, place, what = name.split(".")
                state.setdefault(int(place), {})[what] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.update = structure["update"]


def keep(wanted: Recipe, model: nn.Module, folder: Path | None = None) -> None:
    """Put a finished model into its recipe's folder, or another; the configuration comes last, and says that it is whole."""
    folder = folder or wanted.folder
    weights, configuration = wanted.kept(model)
    write_atomically(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
    write_atomically(folder / "recipe.json", json.dumps(asdict(wanted), indent=1) + "\n")
    ByteTokenizer().save_pretrained(folder)
    write_atomically(folder / CONFIGURATION, configuration)


def prepare_command(wanted: Recipe, threads: int | None) -> None:
    """What `remanence prepare` does: train with a progress bar, and say where the model lies."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if threads is not None:
        torch.set_num_threads(threads)
    if wanted.ready:
        print(wanted.folder)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
    )
    with Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        shown = bar.add_task(wanted.name, total=wanted.updates, loss="…")
        for progress in prepare(wanted):
            bar.update(shown, completed=progress.update, loss=f"{progress.loss:.3f}")
    print(wanted.folder)


def examine_command(wanted: Recipe) -> None:
    """What `remanence prepare --examine` adds: perplexity of held-out text, and recall by distance."""
    from remanence.models.examine import by_distance, perplexity, recall
    from remanence.streams.shakespeare import tiny_shakespeare

    scores = partial(wanted.scores, wanted.load())
    longest = wanted.longest
    found = perplexity(scores, tiny_shakespeare(held_out=True), length=longest)
    print(f"perplexity per byte of held-out Shakespeare: {found:.3f}")
    edges = tuple(range(longest // 8, longest + 1, longest // 8))
    for revisions in (0, 2):
        given = recall(scores, 0, rows=64, length=longest - 1, facts=max(1, longest // 128), revisions=revisions)
        print(f"planted facts recalled, {revisions} revisions in a text:")
        for edge, share, count in by_distance(given, edges):
            print(f"  up to {edge:4d} bytes ago: " + (f"{share:6.1%} of {count}" if count else "none was asked"))
