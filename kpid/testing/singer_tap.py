"""A Singer tap, to be run in a process of its own: :mod:`kpid.testing.singer` copies it beside the records that it gives.

It uses nothing but Python itself. What is written beside it in ``tap.json`` says what there is and how it misbehaves.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parent


class Out:
    """Standard output, line by line, with an end that may come before its time.

    Args:
        habits: how this tap misbehaves.
    """

    def __init__(self, habits: dict[str, Any]) -> None:
        self._habits = habits
        self._count = 0

    def say(self, message: dict[str, Any]) -> None:
        """One message."""
        self.write(json.dumps(message))

    def write(self, text: str) -> None:
        """One line; what comes instead of the n-th, and what happens after it, are habits."""
        self._count += 1
        sys.stdout.write(self._habits["lines"].get(str(self._count), text) + "\n")
        if '"STATE"' in text:
            sys.stdout.flush()
        if self._count == self._habits["dies_after"]:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._count == self._habits["fails_after"]:
            fail("RuntimeError: the server went away")
        if self._count == self._habits["hangs_after"]:
            sys.stdout.flush()
            threading.Event().wait()


def fail(text: str) -> None:
    """Say why on standard error, and end."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    sys.exit(1)


def main(arguments: list[str]) -> None:
    """What every tap does."""
    parser = argparse.ArgumentParser()
    for name in ("--config", "--state", "--catalog", "--properties"):
        parser.add_argument(name)
    parser.add_argument("--discover", action="store_true")
    given = parser.parse_args(arguments)
    known = json.loads((PLACE / "tap.json").read_text(encoding="utf-8"))
    habits, streams = known["habits"], known["streams"]
    config = json.loads(Path(given.config).read_text(encoding="utf-8"))
    state = json.loads(Path(given.state).read_text(encoding="utf-8")) if given.state else {}
    catalog_file = given.properties if habits["old_fashioned"] else given.catalog
    catalog = json.loads(Path(catalog_file).read_text(encoding="utf-8")) if catalog_file else None
    note_start(given, config, state, catalog)
    token = config.get("api_token")
    for _ in range(habits["noise"]):
        sys.stderr.write(f"INFO asking with the token {token} of\n  {config.get('private_key')}\n")
    if token != habits["token"]:
        fail(f"requests.exceptions.HTTPError: 401 Client Error: token {token} was refused")
    if habits["rotates"]:
        rotated = {**config, "refresh_token": f"{config.get('refresh_token')}+"}
        Path(given.config).write_text(json.dumps(rotated), encoding="utf-8")
    if habits["leaves_a_child"]:
        leave_a_child()
    out = Out(habits)
    if given.discover:
        listed = [listing(name, stream, old_fashioned=habits["old_fashioned"]) for name, stream in streams.items()]
        sys.stdout.write(json.dumps({"streams": listed}, indent=1))
        return
    wanted = list(streams) if catalog is None else [entry["tap_stream_id"] for entry in selected(catalog)]
    bookmarks = state.get("bookmarks", {})
    for name in wanted:
        read(out, name, streams[name], bookmarks, habits["state_every"])
    out.say({"type": "STATE", "value": {"bookmarks": bookmarks}})


def leave_a_child() -> None:
    """A process that holds our output; as long as it lives, it holds a lock, too."""
    lock = (PLACE / f"child-{os.getpid()}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fork() == 0:
        threading.Event().wait()


def note_start(given: argparse.Namespace, config: dict[str, Any], state: Any, catalog: Any) -> None:
    """For tests: how this process was started."""
    mode = Path(given.config).stat().st_mode & 0o777
    told = {
        "discover": given.discover, "state": state, "config": config, "config_file": given.config, "mode": mode,
        "environment": dict(os.environ), "pid": os.getpid(), "group": os.getpgrp(), "catalog": catalog,
    }  # fmt: skip
    with (PLACE / "starts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


def listing(name: str, stream: dict[str, Any], *, old_fashioned: bool) -> dict[str, Any]:
    """A stream's entry of the catalog."""
    entry = {
        "tap_stream_id": name, "stream": stream["name"], "schema": stream["schema"], "key_properties": stream["key_properties"],
    }  # fmt: skip
    if old_fashioned:
        return entry
    root: dict[str, Any] = {"table-key-properties": stream["key_properties"], "inclusion": "available"}
    if stream["replication_key"]:
        root |= {"forced-replication-method": "INCREMENTAL", "valid-replication-keys": [stream["replication_key"]]}
    fields = [
        {"breadcrumb": ["properties", field], "metadata": {"inclusion": "available"}} for field in stream["schema"]["properties"]
    ]
    return {**entry, "metadata": [{"breadcrumb": [], "metadata": root}, *fields]}


def selected(catalog: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries that are to be read."""
    for entry in catalog["streams"]:
        roots = [one["metadata"] for one in entry.get("metadata", ()) if not one["breadcrumb"]]
        if entry["schema"].get("selected") if not roots else roots[0].get("selected"):
            yield entry


def read(out: Out, name: str, stream: dict[str, Any], bookmarks: dict[str, Any], state_every: int) -> None:
    """One stream: what changed since its bookmark, or the whole table under a new version."""
    shown, key = stream["name"], stream["replication_key"]
    schema = {"type": "SCHEMA", "stream": shown, "schema": stream["schema"], "key_properties": stream["key_properties"]}
    out.say({**schema, "bookmark_properties": [key]} if key else schema)
    if not key:
        for record in stream["records"]:
            out.say({"type": "RECORD", "stream": shown, "record": record, "version": stream["version"]})
        out.say({"type": "ACTIVATE_VERSION", "stream": shown, "version": stream["version"]})
        return
    since = bookmarks.get(name, {}).get(key, "")
    for number, record in enumerate(changed(stream["records"], key, since), 1):
        out.say({"type": "RECORD", "stream": shown, "record": record, "time_extracted": record[key]})
        bookmarks[name] = {key: record[key]}
        if number % state_every == 0:
            out.say({"type": "STATE", "value": {"bookmarks": bookmarks}})


def changed(records: Iterable[dict[str, Any]], key: str, since: str) -> Iterator[dict[str, Any]]:
    """Inclusive, as good taps are."""
    return (record for record in records if record[key] >= since)


if __name__ == "__main__":
    main(sys.argv[1:])
