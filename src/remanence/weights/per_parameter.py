"""What parts keep for every parameter of a model, widened as the model grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
        self._names: list[str] = []

    @property
    def names(self) -> list[str]:
        """The parameters that have a tensor here, in the order of `tensors`."""
        return self._names

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors kept, as one list."""
        return list(self._buffers.values())  # type: ignore[arg-type]

    def put(self, values: Mapping[str, Tensor]) -> None:
        """Keep these tensors, and only these."""
        self._buffers.clear()
        self._names = list(values)
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
        return zip(self._names, self.tensors, strict=True)

    def matching(self, parameters: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Those of the parameters that have a tensor here, and these tensors, in one order."""
        names, tensors = self._names, self.tensors
        if any(name not in parameters for name in names):
            tensors = [kept for name, kept in zip(names, tensors, strict=True) if name in parameters]
            names = [name for name in names if name in parameters]
        return [parameters[name] for name in names], tensors

    def widen(self, parameters: Mapping[str, Tensor]) -> None:
        """Take on the shapes of the parameters; what is new holds `fill`, what is gone is dropped."""
        wider = {}
        for name, value in self.items():
            if name in parameters and value.shape != parameters[name].shape:
                held, value = value, value.new_full(parameters[name].shape, self.fill)
                value[tuple(slice(0, size) for size in held.shape)] = held
            if name in parameters:
                wider[name] = value
        self.put(wider)

    def structure(self) -> dict[str, Any]:
        return {"names": list(self._names)}

    def restructure(self, structure: dict[str, Any]) -> None:
        self.put({name: torch.empty(0) for name in structure["names"]})


def _mangled(name: str) -> str:
    return name.replace(".", "/")
