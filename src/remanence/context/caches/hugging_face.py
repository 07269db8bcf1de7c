"""The bounded cache as transformers knows caches; transformers is loaded when the first one is made."""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from remanence.context.caches.cache import PolicyCache
from remanence.context.caches.layer_cache import LayerCache
from remanence.context.caches.policy import Policy
from remanence.context.caches.supported import Shape


@functools.cache
def cache_class() -> type[PolicyCache]:
    """A `PolicyCache` that is a ``transformers.Cache``."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    class Layer(CacheLayerMixin):  # type: ignore[no-untyped-call]
        """One layer as transformers asks for it; everything is done by the cache."""

        def __init__(self, cache: PolicyCache, held: LayerCache) -> None:
            self.cache, self.held, self.is_initialized = cache, held, True

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            pass

        def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
            return self.cache.update(key_states, value_states, self.held.layer)

        def get_mask_sizes(self, query_length: int | Tensor) -> tuple[int, int]:
            # Older versions, such as 5.2, give the positions of the queries
            new = len(query_length) if isinstance(query_length, Tensor) else query_length
            return self.held.count + new, self.cache.seen - self.held.count

        def get_seq_length(self) -> int:
            return self.cache.seen

        def get_max_length(self) -> int:
            return -1

        get_max_cache_shape = get_max_length  # its name in older versions, such as 5.2

    class BoundedCache(PolicyCache, Cache):
        """A `PolicyCache` that is a ``transformers.Cache``."""

        def __init__(self, policy: Policy, shape: Shape, **given: Any) -> None:
            PolicyCache.__init__(self, policy, shape, **given)
            Cache.__init__(self, layers=[Layer(self, held) for held in self.held])

    return BoundedCache
