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
            for stored in block:
                known = stored.record()
                if stored.kind != "episode" or stored.uses < self.uses or TAG in known.tags:
                    continue
                facts = store.language.facts(stored.text, stored.speaker)
                with store.database.transaction():
                    current = store.database.current([stored.id])
                    if not current or current[0].version != stored.version:
                        continue
                    for fact in facts:
                        store.write(str(fact), kind="fact", scope=scope, speaker=stored.speaker, parent=stored.id)
                    store.revise(stored.id, tags=[*known.tags, TAG])
                made += len(facts)
        return {"promoted": made}
