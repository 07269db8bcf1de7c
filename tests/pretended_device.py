"""A second device that any machine has: its tensors lie on the CPU, and refuse to be mixed with those of the CPU.

What a GPU would refuse is refused here: an operation on tensors of both, an index on the wrong side, numbers drawn
there with a generator of the CPU. Arithmetic, and what is fast there, it cannot tell.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")  # a name that torch accepts everywhere and nothing else here uses
CARRIES_OVER = ("aten._to_copy.default", "aten.copy_.default", "aten.index.Tensor", "aten.index_put")


class There(torch.Tensor):
    """A tensor of the pretended device, around one of the CPU."""

    @staticmethod
    def __new__(cls, inner):
        held = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )
        held.inner = inner
        return held

    @property
    def data(self):
        return self.detach()

    def tolist(self):
        return self.inner.tolist()

    def untyped_storage(self):
        return self.inner.untyped_storage()

    def __repr__(self):
        return f"There({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Pretended(TorchDispatchMode):
    """Inside, tensors can be made on `DEVICE` and moved there and back."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    name, asked = str(func), kwargs.get("device")
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there = [value for value in tensors if isinstance(value, There)]
    here = [value for value in tensors if not isinstance(value, There) and value.dim()]
    if there and here and not name.startswith(CARRIES_OVER):
        raise RuntimeError(f"{name} mixes devices: {[tuple(t.shape) for t in here]} lie on the CPU")
    if there and name == "aten.index.Tensor" and not isinstance(args[0], There):
        raise RuntimeError("a tensor on the CPU is indexed by one that is not")
    goes = bool(there) if asked is None else torch.device(asked) == DEVICE
    if goes and kwargs.get("generator") is not None:
        raise RuntimeError(f"{name} draws with a generator of the CPU elsewhere")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if name == "aten.copy_.default":
        goes = isinstance(args[0], There)
    out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if func._schema.name.endswith("_") and not isinstance(args[0], list | tuple):
        return args[0]
    return tree_map(There, out) if goes and isinstance(out, torch.Tensor) else tree_map(_wrap(goes), out)


def _inner(value):
    return value.inner if isinstance(value, There) else value


def _wrap(goes):
    return lambda value: There(value) if goes and isinstance(value, torch.Tensor) else value
