"""The store: what is written, read, revised, linked and forgotten, whatever database lies below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from remanence.errors import Conflict, UsageError, nearest
from remanence.store import forgetting, transfer
from remanence.store.async_mixin import AsyncMixin
from remanence.store.database.base import Database
from remanence.store.draft import GIVEN, clean, draft, identity, new_id
from remanence.store.encoding import Encoding, Progress
from remanence.store.record import Hits, Link, Receipt, Record
from remanence.store.retrieve.retriever import Retriever
from remanence.store.times import NEVER, Instant, instant, moment, now
from remanence.store.version import StoredVersion, version_of
from remanence.store.where import filter_of

if TYPE_CHECKING:
    import os

    from remanence.store.encode.protocol import Encoder
    from remanence.store.language import Language
    from remanence.store.manage import Policy

_BULK = 5000
LONGEST_QUESTION = 20_000
"""Characters of one question."""
MOST_HITS = 1_000_000_000
"""Hits of one reading."""


class Store(AsyncMixin):
    """Memory in one database. Safe to use from threads; in a forked child it goes on by itself.

    Open one with `remanence.store.open`. Every method that changes something is durable when it returns.
    Each has a form for ``async`` code: ``await store.awrite(…)``, ``aread``, and so on.

    Parameters
    ----------
    database:
        The truth.
    encoder:
        What turns texts into vectors, or None to read by words alone.
    precision:
        How vectors are kept in the database, ``float32`` or ``float16``.
    background:
        Whether a thread encodes what was written while nobody reads.
    language:
        What consolidation asks for summaries and facts: a language model, or the rules that stand in for one.
    clock:
        The present instant, in microseconds since 1970 UTC.
    ids:
        A fresh id at each call, 32 hexadecimal digits.

    Example
    -------
    >>> import remanence.store as store, tempfile, os
    >>> with store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as memory:
    ...     ana = memory.write("I moved to Lisbon in May", speaker="Ana")
    ...     memory.read("Where is Lisbon in May?", k=1)[0].record.speaker
    'Ana'
    """

    def __init__(
        self,
        database: Database,
        encoder: Encoder | None,
        *,
        precision: str = "float32",
        background: bool = True,
        language: Language | None = None,
        clock: Callable[[], int] = now,
        ids: Callable[[], str] = new_id,
    ) -> None:
        self.database, self.clock, self.ids = database, clock, ids
        self._language = language
        self.encoding = Encoding(database, encoder, precision, background)
        self.retriever = Retriever(database, self.encoding)
        if database.unpurged() is not None:
            forgetting.purge(self)

    # Writing

    def write(self, text: str, *, wait: bool = False, **fields: Any) -> Record:
        """Remember a text. Durable, and found by its words, when this returns; its vector follows.

        Parameters
        ----------
        text:
            What to remember, at most a million characters.
        wait:
            Whether to encode before returning.
        **fields:
            Any field of a `Record` that can be given: kind, scope, speaker, said_at, valid_from, valid_to,
            source, tags, metadata, strength, parent, id. Times are datetimes or ISO 8601 texts.

        Raises
        ------
        UsageError
            If a field is unknown or cannot be used; nothing is written.
        """
        return self._written([draft({**fields, "text": text}, self.ids)], wait)[0]

    def _written(self, drafts: list[Any], wait: bool) -> list[Record]:
        at = self.clock()
        rows = self.database.insert(drafts, at)
        if wait:
            self.encoding.encode_queued()
        else:
            self.encoding.written()
        return [version_of(d, at, row=row).record() for row, d in zip(rows, drafts, strict=True)]

    def write_many(
        self,
        records: Iterable[Mapping[str, Any] | Record | str],
        *,
        wait: bool = False,
        progress: Progress | None = None,
    ) -> list[str]:
        """Remember many in one transaction, all or none; their ids in order.

        Parameters
        ----------
        records:
            Texts, records, or mappings of fields.
        wait:
            Whether to encode before returning.
        progress:
            Called with how many are written and how many there are (0 where that is not known).
        """
        if isinstance(records, str | bytes | Mapping | Record) or not isinstance(records, Iterable):
            raise UsageError(f"a {type(records).__name__} was given to write_many, expected several: give a list")
        total = len(records) if isinstance(records, Sequence) else 0
        ids: list[str] = []
        at = self.clock()
        with self.database.transaction():
            block: list[Any] = []
            for given in records:
                block.append(draft(given, self.ids))
                ids.append(block[-1].id)
                if len(block) == _BULK:
                    self.database.insert(block, at)
                    block = []
                    if progress:
                        progress(len(ids), total)
            if block:
                self.database.insert(block, at)
        if progress:
            progress(len(ids), total or len(ids))
        if wait:
            self.encoding.encode_queued()
        elif ids:
            self.encoding.written()
        return ids

    # Reading

    def read(
        self,
        question: str,
        k: int = 5,
        *,
        scope: str | None = "",
        where: Any = None,
        as_of: Instant | None = None,
        known_at: Instant | None = None,
        mode: str = "hybrid",
        explain: bool = False,
        reinforce: bool = False,
        **options: Any,
    ) -> Hits:
        """Find what answers a question.

        Parameters
        ----------
        question:
            In natural language.
        k:
            At most how many hits (1 or more).
        scope:
            Where to look: a path, with everything below it; empty for the records of no scope, ``"*"`` for all.
        where:
            Conditions on fields, as data: ``{"speaker": "Ana", "said_at": {">=": "2026-01-01"}}``.
        as_of:
            Only what was true then.
        known_at:
            Only what the store knew then.
        mode:
            ``hybrid``, ``dense``, ``text``, or ``graph``.
        explain:
            Whether each hit says which parts of reading put it there, and by how much.
        reinforce:
            Whether the hits' use counts go up; otherwise reading changes nothing.
        **options:
            Settings of the parts of reading, see `remanence.store.retrieve.retriever.RetrievalSettings`.
        """
        if not isinstance(question, str) or not question.strip():
            raise UsageError("the question is empty: ask something")
        if len(question) > LONGEST_QUESTION:
            raise UsageError(
                f"the question has {len(question):,} characters, at most {LONGEST_QUESTION:,} can be asked: shorten it"
            )
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_HITS:
            raise UsageError(f"k is {k!r}, expected a whole number of 1 or more, at most {MOST_HITS:,}")
        wanted = filter_of(scope, where, as_of=as_of, known_at=known_at, now=self.clock())
        self._refuse_unknown(wanted.scope)
        hits = self.retriever.read(clean(question), k, wanted, mode=mode, explain=explain, **options)
        if reinforce and hits:
            self.database.adjust([hit.record.row for hit in hits], used_at=self.clock())
        return hits

    def _refuse_unknown(self, scope: str | None) -> None:
        if scope and not self.database.holds_scope(scope):
            named = [path for path in self.database.scopes() if path]
            hint = nearest(scope, named) if len(named) <= 50 else nearest(scope, named[:50])
            raise UsageError(
                f"nothing was written under the scope {scope!r}: {hint if named else 'no scope was used yet'}"
            )

    def get(self, record_id: str) -> Record:
        """The current version of a record.

        Raises
        ------
        UsageError
            If there is none of that id.
        """
        return self._current(record_id).record()

    def _current(self, record_id: str) -> StoredVersion:
        found = self.database.current([identity(record_id)])
        if not found:
            raise UsageError(f"there is no record {record_id}: it was never written, or it was forgotten")
        return found[0]

    def list(
        self, *, scope: str | None = "*", where: Any = None, limit: int = 100, newest: bool = True, **times: Any
    ) -> list[Record]:
        """Records by order of writing, current versions unless `as_of` or `known_at` ask for others."""
        wanted = filter_of(scope, where, now=self.clock(), **times)
        return [stored.record() for stored in self.database.find(wanted, limit, newest=newest)]

    def count(self, *, scope: str | None = "*", where: Any = None) -> int:
        return self.database.count(filter_of(scope, where, now=self.clock()))

    def __len__(self) -> int:
        return int(self.database.statistics()["records"])

    def __bool__(self) -> bool:
        return True

    def scopes(self) -> Sequence[str]:
        """Every scope that holds a record."""
        return self.database.scopes()

    # Changing

    def revise(
        self,
        record_id: str,
        text: str | None = None,
        *,
        expected_version: int | None = None,
        valid_from: Instant | None = None,
        correction: bool = False,
        wait: bool = False,
        **fields: Any,
    ) -> Record:
        """Write a new version; the old one stays in history with its validity closed.

        Parameters
        ----------
        record_id:
            Which.
        text:
            What it says now; None to change only other fields.
        expected_version:
            The version that this change was made from; a `Conflict` if another came in between.
        valid_from:
            Since when the new version is true; now, if not given. The old one was true until then. Of several
            versions that claim the same time, the latest holds.
        correction:
            The old version was never true: the new one takes over its time, but for what is given anew.
        **fields:
            Other fields to change.
        """
        for name in fields:
            if name not in GIVEN or name in ("id", "text"):
                raise UsageError(
                    f"a record has no field {name!r} that can be revised: {nearest(name, set(GIVEN) - {'id'})}"
                )
        if text is None and not fields and valid_from is None:
            raise UsageError("nothing to revise was given: give a text or a field")
        with self.database.transaction():
            old = self._current(record_id)
            if expected_version is not None and old.version != expected_version:
                raise Conflict(
                    f"record {old.id} is at version {old.version}, the change was made from version {expected_version}: "
                    "read it again and decide anew"
                )
            at = self.clock()
            since = instant(valid_from, "valid_from")
            if correction:
                starts = old.valid_from if since is None else since
                closes = NEVER if old.valid_from is None else old.valid_from
            else:
                starts = closes = at if since is None else since
            known = old.record()
            given = {name: getattr(known, name) for name in GIVEN if name not in ("valid_from", "valid_to")}
            given |= {"valid_to": known.valid_to if correction else None}
            given |= fields | {"valid_from": moment(starts)} | ({} if text is None else {"text": text})
            row = self.database.replace(old, draft(given), at, closes)
            revised = self.database.stored([row])[0].record()
        if wait:
            self.encoding.encode_queued()
        else:
            self.encoding.written()
        return revised

    def history(self, record_id: str) -> Sequence[Record]:
        """All versions of a record, oldest first, each with the time in which it was true."""
        found = self.database.history(identity(record_id))
        if not found:
            self._current(record_id)
        return [stored.record() for stored in found]

    # Links

    def link(self, source: str, target: str, relation: str, weight: float = 1.0) -> Link:
        """Relate two records: ``link(a, b, "supports")``."""
        made = Link(identity(source), identity(target), _relation(relation), _weight(weight))
        self.database.link([made], self.clock())
        return made

    def unlink(self, source: str, target: str, relation: str) -> bool:
        """Take a link back; whether there was one."""
        return bool(self.database.unlink([Link(identity(source), identity(target), _relation(relation))]))

    def links(self, record_id: str | None = None) -> Sequence[Link]:
        """The links that begin or end at a record, or all."""
        return self.database.links(None if record_id is None else [identity(record_id)])

    def neighbours(self, record_id: str, relation: str | None = None) -> Sequence[Record]:
        """The records that a link joins to this one, either way."""
        me = self._current(record_id).id
        found = [one for one in self.database.links([me]) if relation is None or one.relation == relation]
        ids = dict.fromkeys(one.target if one.source == me else one.source for one in found)
        return [stored.record() for stored in self.database.current([one for one in ids if one != me])]

    # Forgetting

    def forget(
        self, record: str | Iterable[str] | None = None, *, where: Any = None, scope: str | None = None
    ) -> Receipt:
        """Delete records from everywhere: text, vectors, full-text index, history, links, caches, file bytes.

        What consolidation made from them goes too. Name them by id, or by a filter with `where` or `scope`.

        Returns
        -------
        Receipt
            What became of them, place by place; ``pending`` where a reader of another process blocks it, which
            the next opening finishes.
        """
        return forgetting.forget(self, record, where, scope)

    # Consolidation, moving, care

    @property
    def language(self) -> Language:
        """The language model that was given, or the rules that stand in for one."""
        if self._language is None:
            from remanence.store.language import language

            self._language = language("rules")
        return self._language

    def consolidate(
        self,
        policy: str | Policy | Sequence[str | Policy] = ("merge", "link", "decay"),
        *,
        scope: str | None = "*",
        progress: Progress | None = None,
        **settings: Any,
    ) -> dict[str, int]:
        """Consolidate: what each policy did, counted.

        Parameters
        ----------
        policy:
            ``merge`` (records that say the same), ``link`` (what is alike), ``decay`` (strength fades without use),
            ``summarise`` (a note for each source), ``promote`` (facts out of what is used often), an object
            with ``run``, or several of them in order.
        scope:
            Where; each scope is looked after by itself.
        progress:
            Called with how many records a policy has looked at, and how many there are.
        **settings:
            Settings of the policies, by name.
        """
        from remanence.store.manage import consolidate

        return consolidate(self, policy, scope, settings, progress)

    def export(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Write everything to JSON lines: all versions and links; the number of versions written."""
        return transfer.export(self, path, progress)

    def import_(self, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Read what `export` wrote, in one transaction; the number of versions read."""
        return transfer.import_(self, path, progress)

    def encode(self, *, progress: Progress | None = None) -> int:
        """Encode everything that waits for a vector; how many there were."""
        return self.encoding.encode_queued(progress=progress)

    def change_encoder(self, encoder: str | Encoder, *, wait: bool = True, progress: Progress | None = None) -> None:
        """Encode everything anew; the old vectors serve until the new ones are complete.

        An encoder that is compatible with the store's (``compatible_with``) needs none of this: open the store
        with it, and old vectors answer its questions.

        Parameters
        ----------
        encoder:
            A name, or an object with ``name``, ``dimension`` and ``encode``.
        wait:
            Whether to return only when the new vectors serve; otherwise a thread does it. What is encoded when
            it is stopped stays, and the next call goes on.
        """
        from remanence.store.encode.encoder import encoder_of

        made = encoder_of(encoder)
        if made is None:
            raise UsageError("no encoder was named to change to: give a name such as 'minilm'")
        self.encoding.change(made, progress, wait=wait)

    def check(self, *, repair: bool = False) -> Sequence[str]:
        """What is wrong, a sentence each, mended where `repair`; empty when all is well."""
        return self.database.check(repair)

    def optimize(self, *, progress: Progress | None = None) -> bool:
        """Slow upkeep that reading gains from, the approximate index of a large store; whether there was any to do."""
        return self.database.optimize(progress)

    def statistics(self) -> dict[str, Any]:
        """Counts and bytes."""
        space = self.encoding.serving
        return {**self.database.statistics(), "encoder": space.name if space else None}

    def close(self) -> None:
        self.encoding.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _relation(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given) > 200:
        raise UsageError(f"the relation of a link is {str(given)[:60]!r}, expected a short text such as 'supports'")
    return clean(given.strip())


def _weight(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) <= 1e18:
        raise UsageError(f"the weight of a link is {str(given)[:60]!r}, expected a number of at most 1e18")
    return float(given)
