"""Random numbers drawn by (seed, purpose, position), never from a generator that was passed around.

Nothing here has to be saved: a resumed run derives the same numbers from the same position, and a part
that draws for its own purpose does not disturb the order in which another part, or the data, is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MASK = (1 << 63) - 1


def derive(seed: int, *where: str | int) -> int:
    """A 63-bit seed for one purpose at one position.

    >>> derive(0, "order", 1, 0) == derive(0, "order", 1, 0) != derive(0, "order", 1, 1)
    True
    """
    text = "\x1f".join([str(seed), *map(str, where)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") & _MASK


def generator(seed: int, *where: str | int) -> torch.Generator:
    """A CPU generator for one purpose at one position."""
    return torch.Generator().manual_seed(derive(seed, *where))


def seed_global(seed: int, device: torch.device | None = None) -> None:
    """Start torch's global generators (which dropout uses), that of the device too, from `seed`."""
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device is not None and device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def global_kept(device: torch.device | None = None) -> Iterator[None]:
    """Whatever happens to torch's global generators inside, outside nothing changed."""
    outer = torch.default_generator.get_state()
    kind = "cpu" if device is None else device.type
    outer_there = torch.cuda.get_rng_state(device) if kind == "cuda" and device is not None else None
    outer_there = torch.mps.get_rng_state() if kind == "mps" else outer_there
    try:
        yield
    finally:
        torch.default_generator.set_state(outer)
        if outer_there is not None and kind == "cuda" and device is not None:
            torch.cuda.set_rng_state(outer_there, device)
        elif outer_there is not None:
            torch.mps.set_rng_state(outer_there)


@contextmanager
def global_generator(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside, torch's global generators start from `seed`; outside, nothing changed."""
    with global_kept(device):
        seed_global(seed, device)
        yield
