"""Links between records that speak of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.store.manage.policy import Policy, blocks, exactly, vectors_of
from remanence.store.record import Link

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

RELATION = "like"


class LinkAlike(Policy):
    """Every record is linked to the few of its scope whose vectors are nearest, the cosine as the weight.

    Parameters
    ----------
    most:
        How many links a record begins (1 or more).
    near:
        The least cosine (0 to 1).
    """

    @validated
    def __init__(
        self,
        most: Annotated[int, Field(ge=1, description="links that a record begins")] = 3,
        near: Annotated[float, Field(ge=0, le=1, description="least cosine of two linked records")] = 0.6,
    ) -> None:
        self.most, self.near = most, near

    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        space = store.encoding.serving
        made = 0
        for block in blocks(store, scope, progress) if space else ():
            rows, vectors = vectors_of(store, block)
            ids = {stored.row: stored.id for stored in block}
            links = []
            for row, vector in zip(rows.tolist(), vectors, strict=True):
                near, scores = store.database.dense(space, vector, self.most + 1, exactly(store, scope))  # type: ignore[arg-type]
                stored = {one.row: one for one in store.database.stored(near)}
                for other, score in zip(near.tolist(), scores.tolist(), strict=True):
                    if other != row and score >= self.near and other in stored and stored[other].scope == scope:
                        links.append(Link(ids[row], stored[other].id, RELATION, round(float(score), 4)))
            with store.database.transaction():
                there = {
                    stored.id
                    for stored in store.database.current([end for one in links for end in (one.source, one.target)])
                }
                kept = [one for one in links if one.source in there and one.target in there]
                store.database.link(kept, store.clock())
            made += len(kept)
        return {"linked": made}
