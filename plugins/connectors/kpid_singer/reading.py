"""One run of a tap for one entity: its messages into pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from kpid.plugin import Cursor, Page, SchemaError, SourceContext, ValueStyle
from kpid_singer.messages import KNOWN
from kpid_singer.references import Reference
from kpid_singer.rows import Reader
from kpid_singer.settings import Stream

_SECONDS = 5.0
"""From a slow tap a STATE is handed on after this, so that a kill loses little."""


class Gathering:
    """Gathers records; a page's cursor is the last STATE that came before its end, so no STATE is ahead of its records.

    Args:
        entity: what is read.
        wanted: the entity's streams, by the names of the mapping.
        names: names of streams in messages, with those of the mapping.
        cursor: where the read began; None: at the beginning.
        style: how the tap writes its values.
        until: the end of this sync's reach.
        refs: by stream the columns whose ids need a prefix.
    """

    def __init__(
        self,
        entity: str,
        wanted: Mapping[str, Stream],
        names: Mapping[str, str],
        cursor: Cursor | None,
        style: ValueStyle,
        until: datetime,
        refs: Mapping[str, Mapping[str, Reference]],
    ) -> None:
        self._entity = entity
        self._is_full = all(stream.full for stream in wanted.values())
        self._readers = {name: Reader(name, stream, style, until, refs[name]) for name, stream in wanted.items()}
        self._names = names
        self._described: set[str] = set()
        self._others: set[str] = set()
        self._warnings: dict[str, None] = {}
        self._before = dict((cursor or {}).get("versions", {}))
        self._state: Any = (cursor or {}).get("state")
        self._versions = dict(self._before)

    def pages(self, messages: Iterable[Mapping[str, Any]], context: SourceContext, size: int) -> Iterator[Page]:
        """A page for so many records, or sooner where a STATE comes from a slow tap; the rest is for :meth:`page`.

        Raises:
            SchemaError: the tap says nothing of a stream, or not enough.
        """
        began = context.clock.monotonic()
        for message in messages:
            self._take(message)
            is_slow = message["type"] == "STATE" and context.clock.monotonic() - began >= _SECONDS
            if is_slow or self.count >= size:
                yield self.page()
                began = context.clock.monotonic()

    @property
    def count(self) -> int:
        """How many records have come together."""
        return sum(map(len, self._readers.values()))

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "STATE":
            self._state = message["value"]
            return
        if kind not in KNOWN:
            self._warn(f"The tap says things of the kind {str(kind)[:40]}, which are passed over")
            return
        shown = str(message["stream"])
        reader = self._readers.get(self._names.get(shown, shown))
        if reader is None:
            self._others.add(shown)
        elif kind == "RECORD":
            if reader.name not in self._described:
                self._describe(reader, {}, ())
            reader.take(message["record"])
        elif kind == "SCHEMA":
            self._describe(reader, message["schema"], message.get("key_properties") or ())
        else:
            self._activate(reader.name, message.get("version"))

    def _describe(self, reader: Reader, schema: Any, keys: Any) -> None:
        reader.describe(schema, tuple(map(str, keys)))
        self._described.add(reader.name)
        for warning in reader.warnings:
            self._warn(warning)

    def _activate(self, name: str, version: Any) -> None:
        """A stream was replaced as a whole: what it no longer has is gone. Only a full read can tell what that is."""
        if not self._is_full and name in self._before and self._before[name] != version:
            self._warn(
                f"The tap has replaced its stream {name} as a whole: what is gone is found by `kpid sync --full`, or each time "
                "with `full: true`"
            )
        self._versions[name] = version

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    def page(self, *, through: datetime | None = None) -> Page:
        """What has come together."""
        rows = [row for reader in self._readers.values() for row in reader.rows()]
        gone = [stone for reader in self._readers.values() for stone in reader.gone.values()]
        for reader in self._readers.values():
            reader.gone.clear()
        return Page({self._entity: rows} if rows else {}, self._cursor(), through, warnings=tuple(self._warnings), gone=gone)

    def _cursor(self) -> Cursor | None:
        """None for full reads: a tap that is given the state of a whole read may leave out what it has told before."""
        if self._is_full or (self._state is None and not self._versions):
            return None
        return {"state": self._state, "versions": self._versions} if self._versions else {"state": self._state}

    def last_page(self, until: datetime) -> Page:
        """The end of a run that went well.

        Raises:
            SchemaError: a stream never came, though others did: the mapping names it otherwise than the tap.
        """
        for name in self._readers.keys() - self._described:
            if self._others:
                there = ", ".join(sorted(self._others))
                raise SchemaError(
                    f"the tap says nothing of a stream {name!r}",
                    where="streams",
                    hint=f"It speaks of: {there}. Correct the mapping",
                )
            self._warn(f"The tap has not said a word of its stream {name}")
        return self.page(through=until)
