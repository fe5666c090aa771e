"""Recorded exchanges as a server: a connector reads them as if they came from the network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from kpid.clock import Clock
from kpid.testing.api import Answer, FakeApi, Request

Query: TypeAlias = Iterable[tuple[str, str]]
Key: TypeAlias = tuple[str, str, frozenset[tuple[str, str]]]


class Recorded(FakeApi):
    """Answers each request as a real server once did; what was not asked then is a 404.

    The folder holds one exchange a file, ``<number>-<what>.json``: ``{"request": {"method", "path", "query", ...}, "response":
    {"status", "headers", "body"}}``. Numbers are the order in time. A response with ``body_of_each`` instead of ``body`` holds
    one for each id; the id stands in the path as ``<_id>``. A status of null never answers.

    Args:
        folder: where the files are.
        clock: gives the ``Date`` header.

    Attributes:
        moment: the number of the last exchange that has happened; an answer is the newest one so far.
    """

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.moment = 0
        self._exchanges: dict[Key, list[tuple[int, Mapping[str, Any]]]] = {}
        for file in sorted(folder.glob("*.json")):
            found = re.match(r"\d+", file.name)
            self._take(json.loads(file.read_text(encoding="utf-8")), int(found[0]) if found else 0)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            self.route(method, ".*", self._replayed)

    def normal(self, query: Query) -> Query:
        """The parameters that tell one exchange from another; override where some do not matter."""
        return query

    def told(self, request: Request) -> int | None:
        """The moment of the exchange that answers a request, where its body decides; the default says that it does not."""
        return None

    def _take(self, exchange: Mapping[str, Any], number: int) -> None:
        request, response = exchange["request"], exchange["response"]
        query = [(str(name), str(value)) for name, value in request["query"]]
        bodies = response.get("body_of_each")
        answers = {request["path"]: response}
        if bodies is not None:
            answers = {
                request["path"].replace("<_id>", native_id): {**response, "body": bodies[native_id]} for native_id in bodies
            }
        for path, answer in answers.items():
            key = (request["method"], path, frozenset(self.normal(query)))
            self._exchanges.setdefault(key, []).append((number, answer))

    def _replayed(self, request: Request) -> Answer:
        query = [(name, value) for name, values in request.query.items() for value in values]
        known = self._exchanges.get((request.method, request.path, frozenset(self.normal(query))), ())
        chosen = self.told(request)
        past = [(number, answer) for number, answer in known if number == chosen or (chosen is None and number <= self.moment)]
        if not past:
            return Answer(404, {"error": f"nothing was recorded for {request.method} {request.path}"})
        answer = max(past, key=lambda one: one[0])[1]
        if answer["status"] is None:
            return Answer(manner="hang")
        return Answer(answer["status"], answer["body"], answer["headers"])
