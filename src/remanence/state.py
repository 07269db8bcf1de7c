"""State on disk: tensors and structure in one safetensors file, written whole or not at all.

The tensors are the file's body, the structure is JSON in its header. Nothing in it can run code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from remanence.errors import StateError
from remanence.files import write_atomically
from remanence.formats import Format

FORMAT = Format("remanence", 1)
"""Of everything that is saved as tensors and structure: learners, checkpoints, caches, states of layers."""

State = tuple[dict[str, Tensor], dict[str, Any]]

UPGRADES: dict[int, Callable[[State], State]] = {}
"""What leads from the content of a file of one version to that of the next."""


def write_state(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], structure: Mapping[str, Any]) -> None:
    """Save tensors and a JSON structure as one file."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": str(FORMAT), "structure": json.dumps(structure)}
    write_atomically(path, save(plain, metadata=header))


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `write_state` saved.

    Raises
    ------
    StateError
        If the file is missing, truncated, was not written by this library, or by a newer version of it.
    """
    with _opened(path) as file:
        version, structure = _structure(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    for older in range(version, FORMAT.version):
        tensors, structure = UPGRADES[older]((tensors, structure))
    return tensors, structure


def read_structure(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the structure alone, without the tensors; raises as `read_state` does."""
    with _opened(path) as file:
        version, structure = _structure(path, file.metadata() or {})
    return structure if version == FORMAT.version else read_state(path)[1]


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StateError(f"there is no saved state at {path}: give the path that save() or a run wrote") from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"{path} is truncated or not a safetensors file ({error}): use an intact copy") from None


def _structure(path: str | os.PathLike[str], header: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    version = FORMAT.version_in(header.get("format"), path)
    if version is None:
        found = header.get("format")
        raise StateError(
            f"{path} was not saved by remanence ({found or 'it names no format'}): give the path of a saved one"
        )
    try:
        return version, dict(json.loads(header["structure"]))
    except (KeyError, TypeError, ValueError):
        raise StateError(f"the structure in the header of {path} cannot be read: use an intact copy") from None


def load_tensors(module: torch.nn.Module, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put tensors into the parameters and buffers that bear their names, whatever shape those have now.

    Shapes may differ because memories grow; that every name has its place, and every place its tensor,
    is checked.
    """
    places = _places(module)
    missing, foreign = places.keys() - tensors.keys(), tensors.keys() - places.keys()
    if missing or foreign:
        name = sorted(missing or foreign)[0]
        what = "lacks" if missing else "holds an unknown tensor"
        raise StateError(f"the saved state {what} {name!r}: it belongs to another learner, model or version")
    for name, place in places.items():
        place(tensors[name].to(device))


def _places(module: torch.nn.Module) -> dict[str, Callable[[Tensor], None]]:
    places: dict[str, Callable[[Tensor], None]] = {}
    for prefix, owner in module.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                places[dot + name] = _fill_parameter(owner, name)
        for name, buffer in owner._buffers.items():
            if buffer is not None and name not in owner._non_persistent_buffers_set:
                places[dot + name] = _fill_buffer(owner, name)
    return places


def _fill_parameter(owner: torch.nn.Module, name: str) -> Callable[[Tensor], None]:
    def fill(value: Tensor) -> None:
        parameter = owner._parameters[name]
        if parameter is not None and parameter.shape == value.shape:
            parameter.data.copy_(value)
        elif parameter is not None:
            owner._parameters[name] = torch.nn.Parameter(value.clone(), parameter.requires_grad)

    return fill


def _fill_buffer(owner: torch.nn.Module, name: str) -> Callable[[Tensor], None]:
    def fill(value: Tensor) -> None:
        buffer = owner._buffers[name]
        if buffer is not None and buffer.shape == value.shape and buffer.dtype == value.dtype:
            buffer.copy_(value)
        else:
            owner._buffers[name] = value.clone()

    return fill
