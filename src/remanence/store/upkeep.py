"""What is done with a whole store: consolidating, moving, encoding, checking, counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from remanence.errors import UsageError
from remanence.store import transfer

if TYPE_CHECKING:
    import os

    from remanence.store.encode.protocol import Encoder
    from remanence.store.encoding import Progress
    from remanence.store.manage import Policy
    from remanence.store.protocol import Records


class Upkeep:
    """What a store does when nothing is written or asked."""

    def consolidate(
        self: Records,
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

    def export(self: Records, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Write everything to JSON lines: all versions and links; the number of versions written."""
        return transfer.export(self, path, progress)

    def import_(self: Records, path: str | os.PathLike[str], *, progress: Progress | None = None) -> int:
        """Read what `export` wrote, in one transaction; the number of versions read."""
        return transfer.import_(self, path, progress)

    def encode(self: Records, *, progress: Progress | None = None) -> int:
        """Encode everything that waits for a vector; how many there were."""
        return self.encoding.encode_queued(progress=progress)

    def change_encoder(
        self: Records, encoder: str | Encoder, *, wait: bool = True, progress: Progress | None = None
    ) -> None:
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

    def check(self: Records, *, repair: bool = False) -> Sequence[str]:
        """What is wrong, a sentence each, mended where `repair`; empty when all is well."""
        return self.database.check(repair)

    def optimize(self: Records, *, progress: Progress | None = None) -> bool:
        """Slow upkeep that reading gains from, the approximate index of a large store; whether there was any to do."""
        return self.database.optimize(progress)

    def statistics(self: Records) -> dict[str, Any]:
        """Counts and bytes."""
        space = self.encoding.serving
        return {**self.database.statistics(), "encoder": space.name if space else None}
