"""State on disk: tensors and structure in one safetensors file, written whole or not at all.

The tensors are the file's body, the structure is JSON in its header. Nothing in it can run code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from remanence.errors import StateError
from remanence.files import write_atomically

FAMILY, VERSION = "remanence", 1
"""What a file says that it is. A newer version reads what an older one wrote; the other way round is refused by name."""

FORMAT = f"{FAMILY}/{VERSION}"


def write_state(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], structure: Mapping[str, Any]) -> None:
    """Save tensors and a JSON structure as one file."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": FORMAT, "structure": json.dumps(structure)}
    write_atomically(path, save(plain, metadata=header))


def read_state(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what `write_state` saved.

    Raises
    ------
    StateError
        If the file is missing, truncated, or was not written by this library.
    """
    with _opened(path) as file:
        structure = _structure(path, file.metadata() or {})
        return {name: file.get_tensor(name) for name in file.keys()}, structure  # noqa: SIM118 (not a mapping)


def read_structure(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the structure alone, without the tensors; raises as `read_state` does."""
    with _opened(path) as file:
        return _structure(path, file.metadata() or {})


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StateError(f"there is no saved state at {path}: give the path that save() or a run wrote") from None
    except (SafetensorError, OSError) as error:
        raise StateError(f"{path} is truncated or not a safetensors file ({error}): use an intact copy") from None


def _structure(path: str | os.PathLike[str], header: Mapping[str, str]) -> dict[str, Any]:
    found = header.get("format", "")
    newer = re.fullmatch(rf"{FAMILY}/([1-9]\d*)", found)
    if newer is not None and int(newer[1]) > VERSION:
        raise StateError(
            f"{path} was written by a newer version of remanence (format {newer[1]}, this one reads up to {VERSION}): "
            "upgrade remanence"
        )
    if newer is None:
        raise StateError(
            f"{path} was not saved by remanence ({found or 'it names no format'}): give the path of a saved one"
        )
    try:
        return dict(json.loads(header["structure"]))
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
