"""Any Singer tap: a program that prints what a service holds, some 350 of which exist for all kinds of CRM.

    sources:
      crm:
        connector: singer
        command: tap-example          # in an environment of its own: `venv: /opt/taps/example`
        config: {api_token: "${env:EXAMPLE_TOKEN}", start_date: 2024-01-01}
        streams: mapping.yml          # which stream is what

Protocol: SCHEMA, RECORD, STATE and ACTIVATE_VERSION, a JSON object on each line of standard output; ``--config``, ``--state``,
``--catalog`` (old taps: ``--properties``), ``--discover``. The tap runs once for each entity with a catalog of its streams alone,
in a process group and an environment of its own, never in kpid's interpreter. The state of an entity's streams is its cursor: a
tap that was killed goes on at the last STATE behind which all records are stored; records after it come again. Streams with
``full: true`` are read whole, without a state, and what is no longer there is gone. Rights are the tap's own matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal
from zoneinfo import ZoneInfo

from kpid.plugin import (
    Connector,
    ConnectorError,
    ConnectorInfo,
    Cursor,
    EntityReads,
    Finding,
    Page,
    SchemaError,
    SourceContext,
    ValueStyle,
    entities,
    hookimpl,
)
from kpid_singer.catalog import entry_of, keys_of, lacking, near, streams_in
from kpid_singer.messages import messages
from kpid_singer.reading import Gathering
from kpid_singer.references import references
from kpid_singer.rows import Reader
from kpid_singer.settings import SingerSettings, Stream, read_streams
from kpid_singer.tap import Tap

PATIENCE = timedelta(minutes=2)
"""So long a check waits for the tap's catalog."""

__all__ = ["SingerConnector", "SingerSettings", "Stream", "kpid_connectors"]


class SingerConnector(Connector[SingerSettings]):
    """Reads what a tap says."""

    name = "singer"
    Settings = SingerSettings
    default_max_age: ClassVar[timedelta | None] = None

    def __init__(self, settings: SingerSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._tap = Tap(settings, context)
        self._streams: Mapping[str, Stream] | None = None if isinstance(settings.streams, Path) else settings.streams
        self._style = ValueStyle(ZoneInfo(settings.timezone) if settings.timezone else context.timezone)

    def streams(self) -> Mapping[str, Stream]:
        """The mapping, read once."""
        if self._streams is None:
            self._streams = read_streams(self.context.folder / Path(str(self.settings.streams)).expanduser())
        return self._streams

    def reads(self) -> Sequence[EntityReads]:
        """By the mapping, in the order of the canonical tables."""
        wanted = {stream.entity for stream in self.streams().values()}
        history: Literal["full", "since_sync"] = "full" if "deal_stage_history" in wanted else "since_sync"
        return [self._reads(entity, history) for entity in entities.ENTITIES if entity in wanted]

    def _reads(self, entity: str, history: Literal["full", "since_sync"]) -> EntityReads:
        streams = self._of(entity).values()
        if all(stream.full for stream in streams):
            return EntityReads(entity, "full", "absence", history)
        tells = all(stream.deleted is not None for stream in streams)
        return EntityReads(entity, deletes="inline" if tells else "none", history=history)

    def _of(self, entity: str) -> dict[str, Stream]:
        return {name: stream for name, stream in self.streams().items() if stream.entity == entity}

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """What the tap says of the entity's streams, from the state in the cursor on.

        If it fails half-way, what came until then is given before the error.
        """
        wanted = self._of(entity)
        is_full = all(stream.full for stream in wanted.values())
        catalog = self._tap.catalog()
        names = {str(entry_of(catalog, name)["stream"]): name for name in wanted} if catalog is not None else {}
        refs = {name: references(self.streams(), name) for name in wanted}
        gathering = Gathering(entity, wanted, names, cursor, self._style, until, refs)
        state = None if is_full or cursor is None else cursor.get("state")
        with self._tap.run(wanted, state) as lines:
            try:
                yield from gathering.pages(messages(lines), self.context, self.settings.page_rows)
            except ConnectorError:
                if gathering.count:
                    yield gathering.page()
                raise
        yield gathering.last_page(until)

    def asks(self, entity: str) -> frozenset[str]:
        """The fields that the mapping names."""
        streams = self._of(entity).items()
        return frozenset(f"{name}.{field}" for name, stream in streams for field in (*stream.asked, *stream.extra))

    def fills(self) -> Mapping[str, frozenset[str]]:
        """The columns that the mapping names."""
        found: dict[str, frozenset[str]] = {}
        for stream in self.streams().values():
            own = {"native_id", *stream.columns, *(["extra"] if stream.extra else [])}
            found[stream.entity] = found.get(stream.entity, frozenset()) | own
        return found

    def check(self) -> Sequence[Finding]:
        """Ask the tap for its catalog, and compare each stream with the mapping."""
        source = self.context.source_id
        try:
            streams = self.streams()
            catalog = self._tap.discover(PATIENCE) if self.settings.catalog != "none" else None
            catalog = self._tap.catalog() if isinstance(self.settings.catalog, Path) else catalog
            if catalog is None:
                self._tap.find()
                return [Finding(source, ok=True, text=f"{self._tap.name} is there; it cannot be asked (catalog: none)")]
            streams_in(catalog)
        except ConnectorError as error:
            hint = f"{error.hint or ''} (by hand: {self._tap.by_hand()})".strip()
            return [Finding(source, ok=False, text=error.what, hint=hint, where=error.where or "")]
        return [finding for name, stream in streams.items() for finding in self._compared(catalog, name, stream)]

    def _compared(self, catalog: object, name: str, stream: Stream) -> list[Finding]:
        """What is wrong with one stream, or one line that says that it is well."""
        subject = f"{self.context.source_id}/{stream.entity}"
        try:
            entry = entry_of(catalog, name)
            Reader(name, stream, self._style, self.context.clock.now()).describe(entry.get("schema") or {}, keys_of(entry))
        except SchemaError as error:
            return [Finding(subject, ok=False, text=f"{name}: {error.what}", hint=error.hint or "", where=error.where or "")]
        wanted = (*stream.asked, *stream.extra, *([stream.deleted] if stream.deleted else []))
        schema = entry.get("schema") or {}
        there = schema.get("properties") or {}
        absent = lacking(schema, wanted)
        found = [
            Finding(subject, ok=False, text=f"the stream {name} has no field {field!r}", hint=near(field, there, "There are"))
            for field in absent
        ]
        return found or [Finding(subject, ok=True, text=f"stream {name}: {len(wanted)} fields")]

    def close(self) -> None:
        """End the tap, if it is at work."""
        self._tap.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """The `singer` connector."""
    return [ConnectorInfo(SingerConnector, "any Singer tap, by a mapping of its streams", ("singer", "tap", "meltano"))]
