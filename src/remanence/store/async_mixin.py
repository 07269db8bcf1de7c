"""A store's methods once more, for ``async`` code: the same work in a thread, so that an event loop goes on."""

from __future__ import annotations

import asyncio
from typing import Any


class AsyncMixin:
    """``awrite`` does what ``write`` does, and so on; arguments and results are those of the method named."""

    async def _in_thread(self, name: str, *given: Any, **named: Any) -> Any:
        return await asyncio.to_thread(getattr(self, name), *given, **named)

    async def awrite(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("write", *given, **named)

    async def awrite_many(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("write_many", *given, **named)

    async def aread(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("read", *given, **named)

    async def aget(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("get", *given, **named)

    async def alist(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("list", *given, **named)

    async def arevise(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("revise", *given, **named)

    async def ahistory(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("history", *given, **named)

    async def alink(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("link", *given, **named)

    async def aneighbours(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("neighbours", *given, **named)

    async def aforget(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("forget", *given, **named)

    async def aconsolidate(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("consolidate", *given, **named)

    async def aexport(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("export", *given, **named)

    async def aimport(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("import_", *given, **named)

    async def aencode(self, *given: Any, **named: Any) -> Any:
        return await self._in_thread("encode", *given, **named)

    async def aclose(self) -> None:
        await self._in_thread("close")
