"""States as trees of tensors: what a layer remembers, to be cut from the graph, counted, saved and taken back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from remanence.errors import StateError
from remanence.state import read_state, write_state

State: TypeAlias = "Tensor | tuple[State, ...] | dict[str, State] | None"
"""A tensor, or a tuple or a mapping of states; None where nothing was read yet."""


def leaves(state: State, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with the path to it.

    >>> import torch
    >>> [name for name, _ in leaves({"memory": (torch.ones(1), torch.ones(1))})]
    ['state.memory.0', 'state.memory.1']
    """
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, tuple):
        for place, part in enumerate(state):
            yield from leaves(part, f"{name}.{place}")
    elif isinstance(state, dict):
        for key, part in state.items():
            yield from leaves(part, f"{name}.{key}")
    elif state is not None:
        raise StateError(f"{name} is a {type(state).__name__}: a state is a tensor, a tuple or a mapping of states")


def apply(state: State, change: Callable[[Tensor], Tensor]) -> State:
    """The same tree with every tensor changed."""
    if isinstance(state, Tensor):
        return change(state)
    if isinstance(state, tuple):
        return tuple(apply(part, change) for part in state)
    if isinstance(state, dict):
        return {key: apply(part, change) for key, part in state.items()}
    return state


def detach(state: State) -> State:
    """The state cut from the graph that made it, so that a stream can be read without end."""
    return apply(state, lambda tensor: tensor.detach())


def filled(state: State, tensors: Mapping[str, Tensor]) -> State:
    """The same tree with other tensors, by the names that `leaves` gives.

    Raises
    ------
    StateError
        If the names, or the shape of a tensor, are not those of the tree.
    """
    known = {name: tensor.shape for name, tensor in leaves(state)}
    if known != (given := {name: tensor.shape for name, tensor in tensors.items()}):
        odd = sorted(name for name in known.keys() | given.keys() if known.get(name) != given.get(name))[0]
        raise StateError(
            f"{odd} is {_told(given.get(odd))}, expected {_told(known.get(odd))}: give a state of the same layer"
        )
    return _build(_shape(state), "state", tensors)


def _told(shape: Any) -> str:
    return "missing" if shape is None else str(tuple(shape))


def nbytes(state: State) -> int:
    """Bytes of all tensors; storage that several views share is counted once."""
    seen: dict[int, int] = {}
    for _, tensor in leaves(state):
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
    return sum(seen.values())


def save(state: State, path: str | os.PathLike[str]) -> None:
    """Write a state as one safetensors file, whole or not at all."""
    write_state(path, dict(leaves(state)), {"tree": _shape(state)})


def load(path: str | os.PathLike[str]) -> State:
    """The state that `save` wrote.

    Raises
    ------
    StateError
        If the file is missing, truncated, or holds no state of a layer.
    """
    tensors, structure = read_state(path)
    if "tree" not in structure:
        raise StateError(f"{path} holds no state of a layer: give a file that remanence.context.tree.save wrote")
    return _build(structure["tree"], "state", tensors)


def _shape(state: State) -> Any:
    if isinstance(state, tuple):
        return [_shape(part) for part in state]
    if isinstance(state, dict):
        return {key: _shape(part) for key, part in state.items()}
    return None if state is None else "tensor"


def _build(shape: Any, name: str, tensors: Mapping[str, Tensor]) -> State:
    if isinstance(shape, list):
        return tuple(_build(part, f"{name}.{place}", tensors) for place, part in enumerate(shape))
    if isinstance(shape, dict):
        return {key: _build(part, f"{name}.{key}", tensors) for key, part in shape.items()}
    return None if shape is None else tensors[name]
