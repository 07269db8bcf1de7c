"""Notes with keywords, tags and a sentence of context, linked to what they resemble, which they rewrite.

Every input becomes one note in the store; its nearest notes are looked at again whenever one is added, so that old
ones take up what was learned since. It costs a search and, in the paper, two calls of a language model for each
input, and a new vector for each note that is rewritten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.registry import Paper, system
from remanence.store.language import NoteAnnotation
from remanence.store.memories.base import Memory
from remanence.store.record import Hit, Link, Record

RELATION = "belongs with"
PAPER = Paper("A-MEM: Agentic Memory for LLM Agents", "Xu, Liang, Mei, Gao, Tan, Zhang", 2025, "2502.12110", 50)


@system(
    "a-mem[rules]",
    paper=PAPER,
    place="store",
    baseline="a-mem[rules]#plain",
    variant="keywords, tags, context, links and rewriting by rules",
)
class AMem(Memory):
    """Agentic memory: linked notes that evolve.

    A note's vector is that of its content, keywords, tags and context together. Of the `near` notes most like a new
    one, those that belong with it are linked to it, and their context and tags are written anew in its light; their
    content stays. A question is answered by the notes nearest to it and by what those are linked to.

    Parameters
    ----------
    near:
        How many of the nearest notes a new one is compared with (1 or more).
    link:
        Whether notes are linked.
    evolve:
        Whether linked notes are rewritten; needs `link`.
    direct:
        The share of an answer that the nearest notes fill before linked ones are taken (above 0, at most 1).

    Example
    -------
    >>> import remanence.store as store, tempfile, os
    >>> with store.open(os.path.join(tempfile.mkdtemp(), "memory.db"), encoder=None) as opened:
    ...     memory = AMem().bind(opened)
    ...     _ = memory.write({"text": "The choir rehearses in the old church.", "speaker": "Ana"})
    ...     _ = memory.write({"text": "The choir sings in the old church on Sunday.", "speaker": "Ana"})
    ...     [link.relation for link in opened.links()]
    ['belongs with']

    References
    ----------
    Xu et al., A-MEM: Agentic Memory for LLM Agents, 2025, arXiv:2502.12110.

    Departures
    ----------
    The paper adds linked notes to the k nearest; here they share the k places (`direct`), so that systems that
    return as many records can be compared. Only notes that are linked are rewritten, and each at once, where the
    released code embeds rewritten notes again after every hundredth. A note's own tags are not revised by its
    neighbours when it is added.
    """

    encodes: ClassVar[str] = "every input as one note: content, keywords, tags and a sentence of context, one vector"
    stores: ClassVar[str] = "notes in one scope, linked to those that belong with them; rewriting makes versions"
    retrieves: ClassVar[str] = "the largest inner products with the question's vector, and what those notes link to"
    manages: ClassVar[str] = "a new note rewrites context and tags of the notes it is linked to"
    needs_language: ClassVar[tuple[str, ...]] = ("keywords", "tags", "context", "related", "rewrite")

    @validated
    def __init__(
        self,
        near: Annotated[int, Field(ge=1, description="nearest notes that a new one is compared with")] = 5,
        link: Annotated[bool, Field(description="whether notes are linked")] = True,
        evolve: Annotated[bool, Field(description="whether linked notes are rewritten")] = True,
        direct: Annotated[float, Field(gt=0, le=1, description="share of an answer that the nearest notes fill")] = 0.7,
    ) -> None:
        super().__init__()
        self.near, self.link, self.evolve, self.direct = near, link, evolve, direct

    def write(self, given: Mapping[str, Any]) -> list[str]:
        speaker, scope = given.get("speaker"), given.get("scope", "")
        content = f"{speaker}: {given['text']}" if speaker else str(given["text"])
        note = {
            "content": content,
            "keywords": self.language.keywords(given["text"]),
            "context": self.language.context(given["text"]),
        }
        tags = self.language.tags(given["text"])
        known = not scope or scope in self.store.scopes()
        near = [hit.record for hit in self._find(content, self.near, scope)] if self.link and known else []
        metadata = {**given.get("metadata", {}), **note}
        fields = {**given, "text": _whole(note, tags), "kind": "note", "tags": tags, "metadata": metadata}
        made = self.store.write(**fields)
        return [made.id, *self._linked(made, content, near)]

    def _linked(self, made: Record, content: str, near: list[Record]) -> list[str]:
        """Link what belongs with the new note, and rewrite it; the ids of what was rewritten."""
        contents = [str(one.metadata["content"]) for one in near]
        chosen = self.language.related(content, contents) if near else []
        changed = []
        for place in chosen:
            old = near[place]
            self.store.link(made.id, old.id, RELATION)
            if not self.evolve:
                continue
            news = [content, *(other for other in contents if other != contents[place])]
            before = NoteAnnotation(context=str(old.metadata["context"]), tags=list(old.tags))
            after = self.language.rewrite(before, contents[place], news)
            if after != before:
                note = {**old.metadata, "context": after.context}
                self.store.revise(old.id, _whole(note, after.tags), tags=after.tags, metadata=note)
                changed.append(old.id)
        return changed

    def read(self, question: str, k: int, scope: str = "") -> Sequence[Hit]:
        found = self._find(question, k, scope)
        first = found[: math.ceil(k * self.direct)] if self.link else found
        ranked = {hit.id: hit for hit in first}
        order = {hit.id: place for place, hit in enumerate(first)}
        for link in sorted(self._links(list(order)), key=lambda link: _nearest(link, order)):
            end, start = (link.target, link.source) if link.source in order else (link.source, link.target)
            if len(ranked) < k and end not in ranked:
                stored = self.store.database.current([end])
                if stored:
                    ranked[end] = Hit(stored[0].record(), ranked[start].score, {"linked": ranked[start].score})
        for hit in found:
            if len(ranked) < k:
                ranked.setdefault(hit.id, hit)
        return list(ranked.values())

    def _links(self, ids: list[str]) -> list[Link]:
        return [link for link in self.store.database.links(ids) if link.relation == RELATION] if ids else []

    def _find(self, text: str, k: int, scope: str) -> Sequence[Hit]:
        mode = "text" if self.store.encoding.serving is None else "dense"
        return self.store.read(text, k, scope=scope, mode=mode)


def _whole(note: Mapping[str, Any], tags: Sequence[str]) -> str:
    """What a note's vector is made from."""
    parts = [note["content"], ", ".join(note["keywords"]), ", ".join(tags), note["context"]]
    return "\n".join(part for part in parts if part)


def _nearest(link: Link, order: Mapping[str, int]) -> int:
    return min(order.get(link.source, len(order)), order.get(link.target, len(order)))
