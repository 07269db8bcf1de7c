"""Facts out of what is used often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from remanence.hyperparameters import validated
from remanence.store.manage.policy import Policy, blocks

if TYPE_CHECKING:
    from remanence.store.encoding import Progress
    from remanence.store.protocol import Records

TAG = "promoted"


class Promote(Policy):
    """An episode that was used often enough gives its facts records of their own, which are forgotten with it.

    Parameters
    ----------
    uses:
        How often an episode must have been used (1 or more); see `Store.read` with ``reinforce=True``.
    """

    @validated
    def __init__(
        self, uses: Annotated[int, Field(ge=1, description="uses after which an episode is promoted")] = 3
    ) -> None:
        self.uses = uses

    def run(self, store: Records, scope: str, progress: Progress | None = None) -> dict[str, int]:
        made = 0
        for block in blocks(store, scope, progress):
            for told in block:
                known = told.record()
                if told.kind != "episode" or told.uses < self.uses or TAG in known.tags:
                    continue
                facts = store.language.facts(told.text, told.speaker)
                with store.database.transaction():
                    current = store.database.current([told.id])
                    if not current or current[0].version != told.version:
                        continue
                    for fact in facts:
                        store.write(str(fact), kind="fact", scope=scope, speaker=told.speaker, parent=told.id)
                    store.revise(told.id, tags=[*known.tags, TAG])
                made += len(facts)
        return {"promoted": made}
