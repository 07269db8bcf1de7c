"""The store: what is written, read, revised, linked and forgotten, whatever database lies below."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from remanence.errors import UsageError, nearest
from remanence.store import forgetting, revision, writing
from remanence.store.async_mixin import AsyncMixin
from remanence.store.database.base import Database
from remanence.store.draft import clean, draft, identity, new_id
from remanence.store.encoding import Encoding, Progress
from remanence.store.linking import Linking
from remanence.store.record import Hits, Receipt, Record
from remanence.store.retrieve.retriever import Retriever, check_asked
from remanence.store.times import Instant, now
from remanence.store.upkeep import Upkeep
from remanence.store.version import version_of
from remanence.store.where import filter_of

if TYPE_CHECKING:
    from remanence.store.encode.protocol import Encoder
    from remanence.store.language import Language


class Store(Linking, Upkeep, AsyncMixin):
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
        made = draft({**fields, "text": text}, self.ids)
        at = self.clock()
        row = self.database.insert([made], at)[0]
        self._follow(wait)
        return version_of(made, at, row=row).record()

    def _follow(self, wait: bool) -> None:
        """Encode what was written: now, or in the background."""
        if wait:
            self.encoding.encode_queued()
        else:
            self.encoding.written()

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
        ids = writing.write_many(self.database, records, self.ids, self.clock(), progress)
        if wait or ids:
            self._follow(wait)
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
        check_asked(question, k)
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
        return revision.current(self, record_id).record()

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
        changes = {**fields} if text is None else {**fields, "text": text}
        revised = revision.revise(self, record_id, changes, expected_version, valid_from, correction)
        self._follow(wait)
        return revised

    def history(self, record_id: str) -> Sequence[Record]:
        """All versions of a record, oldest first, each with the time in which it was true."""
        found = self.database.history(identity(record_id))
        if not found:
            revision.current(self, record_id)
        return [stored.record() for stored in found]

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

    @property
    def language(self) -> Language:
        """The language model that was given, or the rules that stand in for one."""
        if self._language is None:
            from remanence.store.language import language

            self._language = language("rules")
        return self._language

    def close(self) -> None:
        self.encoding.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
