"""What a `singer` source is told: how to start the tap, and which of its streams are what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, field_validator

from kpid.plugin import ColumnMap, Mapped, SchemaError, Secret, Settings, entities, known_zone
from kpid_singer.references import Ref, references

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HARMLESS = re.compile(
    r"[A-Za-z_/ ,.-]{0,12}|[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+(Z|[+-][0-9:]+)?)?|https?://[A-Za-z0-9.:/_-]+"
)
_SECRET_KEY = re.compile(r"token|secret|pass|pwd|key|auth|cred|cert|sign|session|cookie|code|login|pin", re.IGNORECASE)


def _seconds(value: Any) -> Any:
    found = re.fullmatch(r"([0-9]+)\s*([smhd])", value.strip()) if isinstance(value, str) else None
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Span = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""``10m``, ``1h``."""
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One text, or several."""


class Stream(Settings):
    """One stream of the tap: the rows of one entity. A point leads into an object: ``company.id``."""

    entity: str = Field(description="The canonical table that it fills.")
    id: Texts = Field(default=(), description="Fields that identify a record; default: the key that the tap tells.")
    prefix: str = Field(default="", description="Put before its ids, where several streams fill one entity: `call-`.")
    columns: Mapping[str, str | ColumnMap] = Field(
        default_factory=dict, description="Canonical column: field of the stream, or a mapping as for files."
    )
    refs: Mapping[str, str | Ref] = Field(
        default_factory=dict,
        description="Column that points to a record: the stream that this is in, or `{by: field, streams: {value: stream}}`.",
    )
    extra: tuple[str, ...] = Field(default=(), description="Fields that are kept as custom fields.")
    deleted: str | None = Field(
        default=None, description="Field that tells a deleted record: the instant, or true; `_sdc_deleted_at` is known."
    )
    full: bool = Field(default=False, description="The tap gives it whole each time: what is no longer there is gone.")
    replication_key: str | None = Field(
        default=None, description="Field by which the tap finds changes, for taps that must be told (databases)."
    )

    @field_validator("entity")
    @classmethod
    def _known_entity(cls, value: str) -> str:
        if value not in entities.ENTITIES:
            raise ValueError(f"there is no such entity; there are: {', '.join(entities.ENTITIES)}")
        return value

    @property
    def fields(self) -> tuple[str, ...]:
        """The stream's fields that fill columns, once each."""
        maps = [ColumnMap(column=value) if isinstance(value, str) else value for value in self.columns.values()]
        return tuple(dict.fromkeys(one.column for one in maps if one.column is not None))

    @property
    def asked(self) -> tuple[str, ...]:
        """These, and the ones that say what references mean."""
        by = (ref.by for ref in self.refs.values() if isinstance(ref, Ref))
        return tuple(dict.fromkeys((*self.fields, *by)))

    @property
    def deletion(self) -> str:
        """The field that tells a deleted record: as set, or what taps that follow a database's log use."""
        return self.deleted or "_sdc_deleted_at"

    def mapped(self, name_of: Mapping[str, str], own: Mapping[str, str]) -> Mapped:
        """The columns as a mapper wants them, with the fields under other names: some columns have names of their ``own``."""
        columns: dict[str, str | ColumnMap] = {}
        for column, value in self.columns.items():
            one = ColumnMap(column=value) if isinstance(value, str) else value
            if one.column is not None:
                one = one.model_copy(update={"column": own.get(column, name_of[one.column])})
            columns[column] = one
        return Mapped(columns=columns)


class SingerSettings(Settings):
    """Settings of a `singer` source."""

    command: Texts = Field(min_length=1, description="The tap's program, and its arguments if it needs any: no shell reads it.")
    venv: Path | None = Field(default=None, description="The virtual environment that the tap is installed in.")
    config: Mapping[str, Any] = Field(
        default_factory=dict, description="The tap's own configuration, as its documents say; secrets from ${env:...}."
    )
    streams: Path | Mapping[str, Stream] = Field(description="Stream -> entity and columns; or a YAML file that says so.")
    catalog: Path | Literal["discover", "none"] = Field(
        default="discover", description="`discover` (the tap is asked), a file, or `none` for taps that know no catalog."
    )
    properties: bool = Field(default=False, description="The tap wants its catalog by --properties, as old ones do.")
    env: tuple[str, ...] = Field(
        default=(), description="Environment variables that the tap is given besides PATH, HOME, LANG, TZ."
    )
    timezone: str | None = Field(default=None, description="Zone of times that state none; default: the company's.")
    timeout: Span = Field(default=timedelta(hours=1), description="One run of the tap takes no longer.")
    idle_timeout: Span = Field(default=timedelta(minutes=10), description="A tap that says nothing for so long is stopped.")
    page_rows: int = Field(default=5_000, ge=1, le=50_000, description="Records per page.")

    _known_zone = field_validator("timezone")(known_zone)

    @field_validator("config")
    @classmethod
    def _hidden(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        return {key: _hide(item, key) for key, item in value.items()}

    @field_validator("streams")
    @classmethod
    def _apart(cls, value: Path | Mapping[str, Stream]) -> Path | Mapping[str, Stream]:
        if not isinstance(value, Path):
            check_apart(value)
        return value

    def plain_config(self) -> dict[str, Any]:
        """The tap's configuration with its secrets in it."""
        return {key: _plain(item) for key, item in self.config.items()}

    def secrets(self) -> frozenset[str]:
        """Texts of the tap's configuration that nobody may read."""
        return frozenset(_secrets(self.config))


def check_apart(streams: Mapping[str, Stream]) -> None:
    """Streams that fill one entity must be told apart, and be read alike.

    Raises:
        ValueError: they are not.
    """
    if not streams:
        raise ValueError("name at least one stream")
    by_entity = sorted(streams.items(), key=lambda item: item[1].entity)
    for entity, found in groupby(by_entity, key=lambda item: item[1].entity):
        some = dict(found)
        names = ", ".join(some)
        if len({stream.prefix for stream in some.values()}) < len(some):
            raise ValueError(f"{names} fill {entity}: give each a `prefix:` of its own, or their ids are mixed up")
        if len({stream.full for stream in some.values()}) > 1:
            raise ValueError(f"{names} fill {entity}: they must all be `full: true`, or none")
    for name in streams:
        references(streams, name)


def read_streams(file: Path) -> Mapping[str, Stream]:
    """The mapping of streams that stands in a file.

    Raises:
        SchemaError: it cannot be read, or is no such mapping.
    """
    try:
        told = _with_text_keys(yaml.safe_load(file.read_text(encoding="utf-8")))
        streams = TypeAdapter(dict[str, Stream]).validate_python(told)
        check_apart(streams)
    except OSError as error:
        text = f"the mapping of streams cannot be read: {error.strerror}"
        raise SchemaError(text, where=str(file), hint="Check `streams:`; it starts at the configuration's folder") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SchemaError(f"{where}: {first['msg']}", where=str(file), hint="Correct the mapping of streams") from None
    except (ValueError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise SchemaError(f"this is no mapping of streams: {text}", where=str(file), hint="Correct it") from None
    return streams


def _with_text_keys(value: Any) -> Any:
    """YAML reads ``true: won`` as a truth value."""
    if isinstance(value, Mapping):
        return {_text(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _text(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _hide(value: Any, key: str) -> Any:
    """Every text that is not plainly a word, a date or an address may be a secret."""
    if isinstance(value, str):
        return Secret(value) if _SECRET_KEY.search(key) or not _HARMLESS.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {name: _hide(item, str(name)) for name, item in value.items()}
    return [_hide(item, key) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item)


def secrets_of_json(value: Any) -> frozenset[str]:
    """The texts of a configuration that a tap has rewritten which nobody may read."""
    return frozenset(_secrets({"config": _hide(value, "")}))
