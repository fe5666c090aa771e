"""A tap's catalog: choosing streams and fields in it, and comparing it with the mapping. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from kpid.plugin import SchemaError
from kpid_singer.settings import Stream

Json = dict[str, Any]


def streams_in(catalog: Any) -> dict[str, Json]:
    """The entries of a catalog by the name that a mapping may use: the stream's id and, if only one has it, its name.

    Raises:
        SchemaError: it is no catalog.
    """
    listed = catalog.get("streams") if isinstance(catalog, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) and entry.get("stream") for entry in listed):
        raise SchemaError(
            "this is no catalog", where="catalog", hint="It must be an object with `streams`, as --discover prints it"
        )
    names = [str(entry["stream"]) for entry in listed]
    found = {str(entry["stream"]): entry for entry in listed if names.count(str(entry["stream"])) == 1}
    return found | {str(entry.get("tap_stream_id") or entry["stream"]): entry for entry in listed}


def entry_of(catalog: Any, name: str) -> Json:
    """A stream's entry.

    Raises:
        SchemaError: the tap has no such stream.
    """
    streams = streams_in(catalog)
    if name not in streams:
        raise SchemaError(f"the tap has no stream {name!r}", where="catalog", hint=near(name, streams, "It has"))
    return streams[name]


def near(name: str, there: Iterable[str], label: str) -> str:
    """What may have been meant, and what there is."""
    listed = sorted(there)
    close = difflib.get_close_matches(name, listed, 1, 0.6)
    shown = ", ".join(listed[:40]) or "nothing"
    return f"{f'Did you mean {close[0]!r}? ' if close else ''}{label}: {shown}"


def selection(catalog: Any, wanted: Mapping[str, Stream]) -> Json:
    """A catalog of these streams alone, chosen in both ways that taps know, with the fields that the mapping needs.

    Raises:
        SchemaError: the tap lacks one of them.
    """
    return {"streams": [_chosen(deepcopy(entry_of(catalog, name)), stream) for name, stream in wanted.items()]}


def _chosen(entry: Json, stream: Stream) -> Json:
    entry.setdefault("tap_stream_id", entry["stream"])
    schema: Json = entry.setdefault("schema", {})
    schema["selected"] = True
    properties: Json = schema.get("properties") or {}
    key = stream.replication_key
    names = {name.partition(".")[0] for name in (*stream.asked, *stream.extra, *stream.id, stream.deletion)}
    names |= {*keys_of(entry), *([key] if key else ())}
    fields = [name for name in properties if name in names]
    for name in fields:
        if isinstance(properties[name], dict):
            properties[name]["selected"] = True
    metadata: list[Json] = entry.setdefault("metadata", [])
    root = _metadata(metadata, [])
    root["selected"] = True
    for name in fields:
        _metadata(metadata, ["properties", name])["selected"] = True
    if stream.full:
        _replicate(entry, root, "FULL_TABLE", None)
    elif key:
        _replicate(entry, root, "INCREMENTAL", key)
    return entry


def _replicate(entry: Json, root: Json, method: str, key: str | None) -> None:
    if "forced-replication-method" not in root:
        entry["replication_method"] = root["replication-method"] = method
    if key is not None:
        entry["replication_key"] = root["replication-key"] = key


def _metadata(metadata: list[Json], breadcrumb: list[str]) -> Json:
    for one in metadata:
        if list(one.get("breadcrumb") or ()) == breadcrumb:
            told: Json = one.setdefault("metadata", {})
            return told
    added: Json = {"breadcrumb": breadcrumb, "metadata": {}}
    metadata.append(added)
    fresh: Json = added["metadata"]
    return fresh


def keys_of(entry: Json) -> tuple[str, ...]:
    """The fields that identify a record, as the tap tells."""
    told = entry.get("key_properties")
    if not told:
        roots = [one.get("metadata") or {} for one in entry.get("metadata") or () if not one.get("breadcrumb")]
        told = next((root["table-key-properties"] for root in roots if root.get("table-key-properties")), ())
    return tuple(str(name) for name in told or ())


def lacking(schema: Any, names: Iterable[str]) -> list[str]:
    """Which fields a schema does not have, as far as it says what it has."""
    return [name for name in names if not _has(schema, name)]


def _has(schema: Any, name: str) -> bool:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict) or not properties or name in properties:
        return True
    top, point, rest = name.partition(".")
    return bool(point) and top in properties and _has(properties[top], rest)
