"""What is held between two uses of a learner: measured, saved, come back to, and copied."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from remanence.errors import StateError, UsageError
from remanence.footprint import Footprint, measure
from remanence.recipe import Recipe
from remanence.state import load_tensors, read_state, write_state


class Persistent(nn.Module):
    """A module whose whole memory is tensors and a small structure, and which can be built again from a recipe.

    Everything remembered is a parameter or a buffer; what is needed to rebuild the shapes is the JSON `structure`.
    A subclass that holds more, or elsewhere, overrides `_held`, `_state` and `_set_state` together.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.device = torch.device("cpu")
        self.recipe: Recipe | None = None
        self._builder: Callable[[Recipe], Any] | None = None
        self._snapshots: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {}
        self._lock = threading.RLock()

    def built_from(self, recipe: Recipe, rebuild: Callable[[Recipe], Any]) -> Self:
        """Note how it was built, so that `save` can say it and `session` can do it again; returns itself.

        Parameters
        ----------
        recipe:
            From which it was built.
        rebuild:
            What builds an equal one from a recipe.
        """
        self.recipe, self._builder = recipe, rebuild
        return self

    # What it costs

    def footprint(self) -> Footprint:
        """Bytes by kind, measured on the tensors held now."""
        return measure(self._held())

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        for module in self.modules():
            kind = getattr(module, "kind", None)
            for parameter in module.parameters(recurse=False):
                yield (kind if kind == "snapshots" else "parameters"), parameter
            for name, buffer in module.named_buffers(recurse=False):
                if name not in module._non_persistent_buffers_set:
                    yield (kind or "parameters"), buffer
        yield from (("optimizer", tensor) for tensor in self._optimizer_tensors().values())
        for tensors, _ in self._snapshots.values():
            yield from (("snapshots", tensor) for tensor in tensors.values())

    def enforce_budget(self) -> None:
        """Keep the budget, or raise a `BudgetError` with the figures; without a budget there is nothing to keep."""

    # Keeping and coming back

    def structure(self) -> dict[str, Any]:
        """What is needed to rebuild the shapes: classes in order, growth, counters. JSON-able.

        Every module below that has a `structure` of its own is asked for it.
        """
        below = {}
        for name, module in self.named_modules():
            if name and hasattr(module, "restructure"):
                below[name] = module.structure()
        return {"modules": below}

    def restructure(self, structure: dict[str, Any]) -> None:
        """Replay a structure: build every module that the saved tensors need, parents first."""
        for name, shape in structure["modules"].items():
            try:
                module = self.get_submodule(name)
            except AttributeError:
                raise StateError(f"the saved state has the module {name!r}, which this learner lacks") from None
            module.restructure(shape)  # type: ignore[operator]

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        """What the optimizer keeps, by name, where there is one."""
        return {}

    def _set_optimizer_tensors(self, tensors: dict[str, Tensor]) -> None:
        if tensors:
            raise StateError("the saved state holds an optimizer, which this learner does not have")

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"state.{name}": tensor for name, tensor in self.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer_tensors().items()}
        return tensors, self.structure()

    def _set_state(self, tensors: dict[str, Tensor], structure: dict[str, Any]) -> None:
        self.restructure(structure)
        load_tensors(self, _under("state.", tensors), self.device)
        self._set_optimizer_tensors({k: v.to(self.device) for k, v in _under("optimizer.", tensors).items()})

    def fingerprint(self) -> str:
        """A digest of everything remembered: equal for two learners that hold the same, to the bit."""
        with self._lock:
            tensors, structure = self._state()
        digest = hashlib.sha256()
        for name, tensor in sorted(tensors.items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        digest.update(json.dumps(structure, sort_keys=True).encode())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str], beside: dict[str, Any] | None = None) -> None:
        """Write the whole memory, snapshots included, to one file; a crash leaves the old file whole.

        Parameters
        ----------
        path:
            The file.
        beside:
            JSON-able notes of whoever drives the learner, which `load_state` gives back.
        """
        with self._lock:
            tensors, structure = self._state()
            snapshots = {}
            for number, (name, (kept, shape)) in enumerate(self._snapshots.items()):
                tensors |= {f"snapshot.{number}.{key}": tensor for key, tensor in kept.items()}
                snapshots[name] = shape
            recipe = self.recipe.as_dict() if self.recipe else None
            header = {"recipe": recipe, "structure": structure, "snapshots": snapshots, "beside": beside or {}}
            write_state(path, tensors, header)

    def load_state(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Become what was saved at `path` by a learner of the same recipe; return the notes beside it."""
        tensors, header = read_state(path)
        mine = self.recipe.as_dict() if self.recipe else None
        if header.get("recipe") != mine:
            raise StateError(f"{path} holds a learner of another recipe: load it with remanence.load({str(path)!r})")
        self._adopt(tensors, header)
        return dict(header["beside"])

    def _adopt(self, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
        with self._lock:
            own = {k: v for k, v in tensors.items() if not k.startswith("snapshot.")}
            self._set_state(own, header["structure"])
            self._snapshots = {
                name: (_under(f"snapshot.{number}.", tensors), shape)
                for number, (name, shape) in enumerate(header["snapshots"].items())
            }

    def snapshot(self, name: str) -> None:
        """Keep the present state under a name, in memory and in what `save` writes."""
        with self._lock:
            tensors, structure = self._state()
            self._snapshots[name] = (
                {key: tensor.detach().clone() for key, tensor in tensors.items()},
                copy.deepcopy(structure),
            )

    def restore(self, name: str) -> None:
        """Go back to a snapshot, to the bit; the snapshot stays."""
        with self._lock:
            if name not in self._snapshots:
                known = ", ".join(self._snapshots) or "none was taken"
                raise UsageError(f"there is no snapshot {name!r}: {known}")
            tensors, structure = self._snapshots[name]
            self._set_state({key: tensor.clone() for key, tensor in tensors.items()}, structure)

    def session(self) -> Self:
        """A copy that goes its own way from here: what it learns or forgets does not reach this learner.

        Snapshots stay behind.
        """
        with self._lock:
            if self.recipe is None or self._builder is None or self.recipe.model == "own":
                made = copy.deepcopy(self, {id(self._lock): threading.RLock(), id(self._snapshots): {}})
            else:  # as a saved learner comes back, so that what lies in files is copied, too
                made = cast(Self, self._builder(self.recipe))
                tensors, structure = self._state()
                made._set_state({name: tensor.clone() for name, tensor in tensors.items()}, copy.deepcopy(structure))
            return made


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
