"""A fork with SQLite open: no connection crosses it.

What SQLite knows of a file's locks is copied into the child, the locks themselves are not. A child would take a lock
that a thread of its parent held for held for ever; and it would write to a log that another process, seeing no locks
of the child's, had removed. So a fork waits until no thread is inside a statement or a transaction, and all
connections are closed before it; parent and child open their own when they next need one.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE = 60.0
"""Seconds that a fork waits for other threads' transactions to end."""


class Closing(Protocol):
    """What lets go of its connections."""

    def close_connections(self) -> None:
        """Close them, right before a fork."""

    def abandon_connections(self) -> None:
        """In the child: use none that the parent had, and close none."""


_closed: weakref.WeakSet[Closing] = weakref.WeakSet()
_abandoned: weakref.WeakSet[Closing] = weakref.WeakSet()
_gate = threading.Condition(threading.RLock())
_mine = threading.local()
_inside = 0
_forking = False


def close_before_fork(database: Closing) -> None:
    """Let connections be closed before every fork."""
    with _gate:
        _closed.add(database)
        _abandoned.add(database)


def abandon_after_fork(database: Closing) -> None:
    """Let connections that a fork does no harm to be left to the parent."""
    with _gate:
        _abandoned.add(database)


@contextmanager
def hold_forks() -> Iterator[None]:
    """No other thread forks the process during the block."""
    global _inside
    if getattr(_mine, "depth", 0):  # this thread is in already: whoever forks waits for it
        yield
        return
    with _gate:
        while _forking:
            _gate.wait(PATIENCE)
        _inside += 1
    _mine.depth = 1
    try:
        yield
    finally:
        _mine.depth = 0
        with _gate:
            _inside -= 1
            _gate.notify_all()


def _before() -> None:
    global _forking
    _gate.acquire()
    _forking = True
    own = getattr(_mine, "depth", 0)
    until = time.monotonic() + PATIENCE
    while _inside > own and (left := until - time.monotonic()) > 0:
        _gate.wait(left)
    if _inside == 0:
        for database in list(_closed):
            database.close_connections()


def _after_in_parent() -> None:
    global _forking
    _forking = False
    _gate.notify_all()
    _gate.release()


def _after_in_child() -> None:
    global _gate, _inside, _forking
    # only this thread goes on in the child
    _gate, _inside, _forking = threading.Condition(threading.RLock()), getattr(_mine, "depth", 0), False
    for database in list(_abandoned):
        database.abandon_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
