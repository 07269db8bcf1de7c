"""Parts: one concern of a gradient-trained learner each, and what they are handed at every hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from remanence.errors import UsageError
from remanence.request import Removal, Request
from remanence.update import Update
from remanence.weights import optimizers

if TYPE_CHECKING:
    from remanence.streams.experience import Experience
    from remanence.weights.context import Context
    from remanence.weights.stacked_part import StackedPart


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one update: the new ones first, then those a memory gave back.

    Parameters
    ----------
    x:
        Raw inputs (n, *shape), or activations where `entry` names the layer they enter at.
    y:
        Labels (n,) int64, values (n,) float32, soft labels (n, classes) float32, or ``None``.
    ids:
        Stable ids (n,) int64.
    fresh:
        How many rows, from the first, are new.
    origin:
        (n - fresh,) int64: the slot of the memory that each remembered row came from.
    weight:
        (n,) float32: weight of each row in the objective.
    mask:
        (n, classes) bool: the classes among which a row competes.
    entry:
        Layer at which `x` enters (latent replay); ``"head"`` for features.
    extras:
        What a memory kept beside its rows (logits, task ids…), aligned with the remembered rows.
    """

    x: Tensor
    y: Tensor | None
    ids: Tensor
    fresh: int
    origin: Tensor | None = None
    weight: Tensor | None = None
    mask: Tensor | None = None
    entry: str | None = None
    extras: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ids)


class BatchSampler:
    """Which rows of an experience each update cuts: ``sampler[k]`` is a tensor of positions.

    It is a function of the position alone, so that a resumed run goes on where it was. A part
    that reorders, resamples or repeats returns another built on this one.
    """

    def __init__(self, length: int, indices: Callable[[int], Tensor]) -> None:
        self._length, self._indices = length, indices

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> Tensor:
        return self._indices(k)


class Step:
    """One update while it happens. Parts read it, and write where their hook says so.

    `batch` is what is learned, `x` the prepared and augmented inputs, `features` and `scores` what the
    model made of them, `columns` the column of each label (classification), `loss` the objective with
    its terms, `maps` the outputs of the layers that parts asked for by name (`Part.layers`). `change`
    maps the names of parameters to the change that the optimizer proposes, in the hook `on_change` only.
    `k` of `total` counts the updates of the experience.
    """

    __slots__ = (
        "_optimizer",
        "batch",
        "change",
        "columns",
        "context",
        "experience",
        "features",
        "k",
        "loss",
        "maps",
        "scores",
        "total",
        "x",
    )

    def __init__(self, context: Context, experience: Experience, batch: Batch, k: int, total: int) -> None:
        self.context, self.experience, self.batch, self.k, self.total = context, experience, batch, k, total
        self.x: Tensor = batch.x
        self.features: Tensor = batch.x
        self.scores: Tensor = batch.x
        self.columns: Tensor | None = None
        self.loss: Tensor = batch.x
        self.change: dict[str, Tensor] = {}
        self.maps: dict[str, Tensor] = {}
        self._optimizer: optimizers.Optimizer | None = None

    @property
    def model(self) -> Any:
        return self.context.model

    def forward(self, x: Tensor, entry: str | None = None) -> Tensor:
        """Scores of other raw inputs in the same mode, counted as forward and backward passes."""
        self.context.count(forwards=len(x), backwards=len(x))
        scores: Tensor = self.context.model(x, entry)
        return scores

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        """Gradients of a loss by parameter name, leaving ``.grad`` as it is; the graph is kept."""
        named = self.context.trainable()
        found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        return {
            name: torch.zeros_like(p) if grad is None else grad
            for (name, p), grad in zip(named.items(), found, strict=True)
        }

    def preview(self) -> dict[str, Tensor]:
        """The change that the optimizer would make with the gradients as they are now, by parameter name.

        Neither parameters nor optimizer state move. For the hook `on_gradient` only.
        """
        if self._optimizer is None:
            raise UsageError("a change was previewed outside the hook on_gradient, before there are gradients")
        moved = {name: p for name, p in self.context.model.named_parameters() if p.requires_grad}
        return optimizers.preview(self._optimizer, moved)


class Part(nn.Module):
    """One concern of a gradient-trained learner.

    Every hook is optional, and only those that a part overrides are called. `needs` names what the
    stream must disclose (``boundaries``, ``classes``, ``task ids``, ``a second reading``), `uses` what
    the trainer shall keep for it (``previous``: a frozen copy of the model as it was at the last
    boundary; ``memory``: the rehearsal memory that another part holds).

    Only parameters of the model are trained. A part that needs some of its own puts them into the body or
    the head in `setup`, as modules with a `structure` if they grow; an `lr_multiplier` and a phase then reach them
    by name.

    `kind` says under which kind of bytes the part's own buffers are counted.

    Seeds of one learner can be trained together (`remanence.weights.stacked`) if each of its parts
    either acts outside updates only, or says `elementwise`: its `loss`, `on_gradient` and `after_step` treat
    every entry of every parameter and buffer alone, a loss being a sum over entries; or else returns
    its stacked form from `stacked`.
    """

    needs: frozenset[str] = frozenset()
    layers: tuple[str, ...] = ()
    """Names of layers of the body whose outputs it reads in `step.maps`; may be set in `setup`."""
    uses: frozenset[str] = frozenset()
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    runner: ClassVar[str] = "remanence.weights.runner:PART"
    small: ClassVar[Mapping[str, Any]] = {}
    """Settings with which it is quick to test, and ``model``, a network that has what it reads."""
    kind = "statistics"
    elementwise = False
    memory: Any
    """A part that holds the rehearsal memory offers it to the others under this name."""

    def stacked(self, parts: Sequence[Part]) -> StackedPart | None:
        """This part and those of the other seeds as one, None where it does not say how."""
        return None

    def setup(self, context: Context) -> None:
        """The part was put into a trainer: build what depends on the model (a new body, say)."""

    def before_experience(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        """An experience starts, before anything grows. May yield updates."""

    def after_growth(self, context: Context) -> None:
        """Heads, blocks or adapters were added. `PerParameter` stores have widened already."""

    def batch_sampler(self, sampler: BatchSampler, context: Context, experience: Experience) -> BatchSampler:
        """Reorder, resample or repeat."""
        return sampler

    def before_batch(self, batch: Batch, context: Context) -> None:
        """New rows arrived, before anything is done with them: detect a boundary, let the model grow."""

    def rehearse(self, batch: Batch, context: Context) -> Batch:
        """Add remembered rows behind the new ones."""
        return batch

    def augment(self, x: Tensor, batch: Batch, context: Context) -> Tensor:
        """Change prepared inputs (n, *shape) before the forward pass."""
        return x

    def objective(self, step: Step) -> Tensor:
        """Replaces the main loss. At most one part of a trainer may."""
        raise UsageError(f"{type(self).__name__} has no objective of its own")

    def loss(self, step: Step) -> Tensor | None:
        """A term to add to the objective, or None when there is nothing to add yet."""
        return None

    def on_gradient(self, step: Step) -> None:
        """After the backward pass: project, mask or rescale the ``.grad`` of parameters."""

    def on_change(self, step: Step) -> None:
        """Edit `step.change`, the change that the optimizer proposes, before it is applied."""

    def after_step(self, step: Step) -> None:
        """After the change."""

    def on_boundary(self, context: Context) -> None:
        """A boundary was found inside an experience by another part, or disclosed between two."""

    def after_experience(self, context: Context, experience: Experience) -> Iterator[Update] | None:
        """An experience ended. May yield updates."""

    def consolidate(self, context: Context, budget: int) -> Iterator[Update] | None:
        """Consolidate with no new data for at most `budget` updates."""

    def lr_multiplier(self, name: str) -> float:
        """Factor on the learning rate of a parameter of the model; 0 freezes it."""
        return 1.0

    def on_scores(self, scores: Tensor, features: Tensor, context: Context) -> Tensor:
        """Change scores (n, classes) before they become the answer."""
        return scores

    def forget(self, request: Request, context: Context) -> dict[str, Removal]:
        """Remove what the part holds of the examples asked for; say what became of each place."""
        return {}

    def shrink(self, excess: int) -> int:
        """Give up at least `excess` bytes if the part can; return how many were given up."""
        return 0


class PerParameter(nn.Module):
    """One tensor per parameter of a model (importances, anchors, utilities), widened as the model grows.

    Parameters
    ----------
    kind:
        The kind of bytes these are counted under.
    fill:
        What new entries hold.

    Example
    -------
    >>> store = PerParameter("importances")
    >>> store.put({"head.weight": torch.ones(2, 3)})
    >>> store.widen({"head.weight": torch.zeros(4, 3)})
    >>> store["head.weight"].sum(1).tolist()
    [3.0, 3.0, 0.0, 0.0]
    """

    def __init__(self, kind: str = "importances", fill: float = 0.0) -> None:
        super().__init__()
        self.kind, self.fill = kind, fill

    def put(self, values: dict[str, Tensor]) -> None:
        """Keep these tensors, and only these."""
        for name in list(self._buffers):
            del self._buffers[name]
        for name, value in values.items():
            self.register_buffer(_mangled(name), value.detach())

    def __getitem__(self, name: str) -> Tensor:
        value = self._buffers[_mangled(name)]
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: str) -> bool:
        return _mangled(name) in self._buffers

    def __len__(self) -> int:
        return len(self._buffers)

    def items(self) -> Iterator[tuple[str, Tensor]]:
        for name, value in self._buffers.items():
            if value is not None:
                yield name.replace("/", "."), value

    def widen(self, parameters: dict[str, Any]) -> None:
        """Take on the shapes of the parameters; what is new holds `fill`, what is gone is dropped."""
        for name, value in list(self.items()):
            if name not in parameters:
                del self._buffers[_mangled(name)]
            elif value.shape != parameters[name].shape:
                wider = value.new_full(parameters[name].shape, self.fill)
                wider[tuple(slice(0, size) for size in value.shape)] = value
                self._buffers[_mangled(name)] = wider

    def structure(self) -> dict[str, Any]:
        return {"names": [name for name, _ in self.items()]}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.put({name: torch.empty(0) for name in structure["names"]})


def _mangled(name: str) -> str:
    return name.replace(".", "/")
