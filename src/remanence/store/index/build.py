"""Writing an index's files anew, and putting its codes in lists, while others read and write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from remanence.errors import UsageError
from remanence.store.index import files, index_write, ivf
from remanence.store.index.clusters import Progress
from remanence.store.index.header import Header
from remanence.store.index.index_files import IndexFiles
from remanence.store.index.postings import write_postings
from remanence.store.index.spann import Spann
from remanence.store.index.view import View

APPROXIMATE_FROM = 150_000
"""Places from which on lists pay, by the measurement in docs/store-index.md."""


class Approximate(NamedTuple):
    """What an index answers approximately.

    Parameters
    ----------
    state:
        "none", "ready", or "due": so many rows are outside lists that `build_approximate` pays.
    covers:
        Rows up to this one are in lists, as far as there were vectors for them; 0 if none.
    lists:
        How many lists.
    outside:
        Places searched exactly at every search.
    """

    state: str
    covers: int
    lists: int
    outside: int


def approximate(view: View | None) -> Approximate:
    """What is answered approximately of what a view shows; of nothing, where there are no files yet."""
    if view is None:
        return Approximate("none", 0, 0, 0)
    head = view.header
    if head.spann:
        outside = view.end - head.posted
        due = outside > max(files.STEP, head.posted // 4)
        return Approximate("due" if due else "ready", head.posted - 1, head.postings, outside)
    outside = view.end - head.clustered
    if not head.lists:
        return Approximate("due" if outside > APPROXIMATE_FROM else "none", 0, 0, outside)
    due = outside > max(files.STEP, head.clustered // 4)
    return Approximate("due" if due else "ready", head.ordered - 1, head.lists, outside)


def write_anew(
    of: IndexFiles,
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.float32]]],
    applied: int,
) -> None:
    """Write files of a new generation from rows, codes and their inverse lengths; the old ones serve until the end."""
    with of.locked(), of.tidy():
        generation = files.unused_generation(of.folder)
        head = Header(of.key, of.dimension, generation=generation, applied=applied)
        for given, codes, lengths in blocks:
            rows = np.asarray(given, dtype=np.int64)
            if rows.min(initial=1) < 1:
                raise UsageError("a row below 1 was given: rows are counted from 1")
            head = index_write.enlarged(of.folder, head, int(rows.max(initial=head.highest)))
            view = View.opened(of.folder, head, writable=True)
            view.codes[rows] = codes
            view.lengths[rows] = lengths
            del view
        head = index_write.enlarged(of.folder, head, head.highest)
        view = View.opened(of.folder, head, writable=True)
        files.sync(view.codes, files.codes_path(of.folder, generation))
        files.sync(view.lengths, files.lengths_path(of.folder, generation))
        del view
        of.write(head)


def build_lists(of: IndexFiles, view: View, seed: int, progress: Progress | None) -> bool:
    """Put the codes that a view shows in order of their clusters; whether the files are still of those."""
    lists, clustered = ivf.plan(view, seed, progress)
    with of.locked(), of.tidy():
        now = of.now()
        if now is None or now.header.generation != view.header.generation:
            return False  # rebuilt by another meanwhile: the plan is for rows that may be others
        head = replace(
            now.header,
            generation=files.unused_generation(of.folder),
            ordered=len(lists.row),
            clustered=clustered,
            lists=len(lists.lengths),
            spann=0,
            posted=0,
            postings=0,
            entries=0,
        )
        ivf.copy(now, of.folder, head, lists, progress)
        index_write.renew(of.folder, head)
        del now
        of.write(head)
    return True


def build_postings(of: IndexFiles, spann: Spann, view: View, progress: Progress | None) -> bool:
    """Write SPANN's posting lists of what a view holds; whether that is still what the files are of."""
    places = view.there()
    posted = view.end
    postings = spann.build(view.rows(places), view.codes[places], view.lengths[places], progress)
    with of.locked(), of.tidy():
        now = of.now()
        if now is None or now.header.generation != view.header.generation:
            return False
        # Rows written meanwhile are searched exactly with the newest; rows removed meanwhile come out.
        late = np.setdiff1d(now.rows(now.there()), view.rows(places))
        gone = postings.rows[now.lengths[now.places(postings.rows)] == 0]
        if len(gone):
            postings.remove(gone)
        head = replace(
            now.header,
            spann=files.unused_generation(of.folder),
            posted=int(min(posted, late.min(initial=posted))),
            postings=len(postings.inverse),
            entries=len(postings.rows),
        )
        write_postings(files.spann_path(of.folder, head.spann), postings)
        del now
        of.write(head)
    return True
