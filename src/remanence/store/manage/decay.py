"""Strength fades without use; what has become too weak may be forgotten."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.store.database.base import scope_setting
from remanence.store.manage.policy import Policy, blocks

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records
    from remanence.store.version import StoredVersion

_DAY = 86_400_000_000
_KEPT = "decayed at"


class Decay(Policy):
    """The strength of a record halves after so many days without use, more slowly the more often it was used.

    Each run takes away what is due since the last one, so that two runs a week apart equal one after a fortnight.

    Parameters
    ----------
    half_life:
        Days after which an unused record's strength has halved.
    forget_below:
        Records weaker than this are forgotten; None keeps all.
    """

    @validated
    def __init__(
        self,
        half_life: Annotated[
            float, Field(gt=0, description="days until an unused record's strength has halved")
        ] = 90.0,
        forget_below: Annotated[float | None, Field(ge=0, description="weaker records are forgotten")] = None,
    ) -> None:
        self.half_life, self.forget_below = half_life, forget_below

    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        key = scope_setting(_KEPT, scope)
        last, now = int(store.database.setting(key) or 0), store.clock()
        weak: list[str] = []
        count = 0
        with store.database.transaction():
            for block in blocks(store, scope, progress):
                strengths = [stored.strength * self.left(stored, last, now) for stored in block]
                store.database.adjust([stored.row for stored in block], strength=strengths)
                count += len(block)
                if self.forget_below is not None:
                    weak += [t.id for t, s in zip(block, strengths, strict=True) if s < self.forget_below]
            store.database.set_setting(key, str(now))
        if weak:
            store.forget(weak)
        return {"decayed": count, "forgotten": len(weak)}

    def left(self, stored: StoredVersion, last: int, now: int) -> float:
        """The share of its strength that a record keeps from the last run, or its last use, until now."""
        since = max(last, stored.used_at or 0, stored.recorded_at)
        days = max(0, now - since) / _DAY
        return math.exp(-math.log(2) * days / (self.half_life * (1 + stored.uses)))
