"""Memory outside the network: records in one database, found by meaning and by words, revised and really deleted.

Importing this loads neither torch nor scikit-learn nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_WHERE = {
    "open": "remanence.store.connect:open",
    "memory": "remanence.store.connect:memory",
    "Store": "remanence.store.store:Store",
    "Record": "remanence.store.record:Record",
    "Link": "remanence.store.record:Link",
    "Hit": "remanence.store.record:Hit",
    "Hits": "remanence.store.record:Hits",
    "Receipt": "remanence.store.record:Receipt",
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'remanence.store' has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from remanence.store.connect import memory, open
    from remanence.store.record import Hit, Hits, Link, Receipt, Record
    from remanence.store.store import Store
