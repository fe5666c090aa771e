"""How fast and how large a sync is: 100k deals from a JSON API on this machine, through the HTTP client, into DuckDB.

    python tests/bench/bench_sync.py --rows 100000

The API runs in a process of its own and gives deals as HubSpot does, every value a string. Counted is the CPU time of the syncing
process alone, HTTP and JSON included. Bars: 30,000 rows per CPU second, 250 MB.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from kpid.clock import SystemClock
from kpid.ingest.sync import sync_source
from kpid.plugin import Connector, EntityReads, Finding, HttpClient, Page, Settings, SourceContext
from kpid.store.engine import Store
from kpid.warehouse.duckdb import open_duckdb

START = datetime(2024, 1, 1, tzinfo=UTC)
BAR_ROWS, BAR_MB = 30_000, 250


def record(number: int) -> dict[str, Any]:
    """One deal as the API gives it."""
    created = START + timedelta(minutes=7 * number)
    state = ("won", "lost", "open")[number % 3]
    closed = (
        ""
        if state == "open"
        else (created + timedelta(days=number % 90)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    return {
        "id": str(10_000_000 + number),
        "createdAt": created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "updatedAt": (created + timedelta(days=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "archived": False,
        "properties": {
            "dealname": f"Example deal {number}",
            "amount": f"{(number * 37) % 90_000}.50",
            "deal_currency_code": "EUR",
            "hubspot_owner_id": str(number % 50),
            "pipeline": "default",
            "dealstage": f"stage-{number % 7}",
            "hs_is_closed_won": "true" if state == "won" else "false",
            "hs_is_closed": "false" if state == "open" else "true",
            "hs_deal_stage_probability": "0.2",
            "closedate": closed,
            "dealtype": "newbusiness",
        },
    }


def serve(pipe: Connection, rows: int, page: int) -> None:
    """The API: pages made beforehand, so that it never is what is slow."""
    bodies = []
    for first in range(0, rows, page):
        after = str(first + page) if first + page < rows else None
        results = [record(number) for number in range(first, min(first + page, rows))]
        bodies.append(json.dumps({"results": results, "paging": {"next": {"after": after}} if after else {}}).encode())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as servers do: else each answer waits for an acknowledgement

        def do_GET(self) -> None:
            after = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0])
            body = bodies[after // page]
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(server.server_port)
    server.serve_forever()


def deal(item: dict[str, Any]) -> dict[str, Any]:
    """The mapping, as a connector has it."""
    own = item["properties"]
    closed = own["hs_is_closed"] == "true"
    return {
        "native_id": item["id"],
        "created_at": item["createdAt"],
        "updated_at": item["updatedAt"],
        "name": own["dealname"],
        "amount": own["amount"],
        "currency": own["deal_currency_code"],
        "owner_id": own["hubspot_owner_id"],
        "pipeline_id": own["pipeline"],
        "stage_id": own["dealstage"],
        "probability": own["hs_deal_stage_probability"],
        "state": "open" if not closed else "won" if own["hs_is_closed_won"] == "true" else "lost",
        "closed_at": own["closedate"] if closed else None,
        "deal_type": "new",
    }


class BenchConnector(Connector[Settings]):
    name = "bench"
    Settings = Settings
    port, page, rows = 0, 0, 0

    def reads(self) -> Sequence[EntityReads]:
        return [EntityReads("deals")]

    def pages(self, entity: str, cursor: Any, until: datetime) -> Iterator[Page]:
        after = "0"
        with HttpClient(f"http://127.0.0.1:{self.port}", name="bench", clock=self.context.clock, allow_private=True) as client:
            while after is not None:
                body = client.get("/deals", params={"limit": self.page, "after": after}).json()
                after = body["paging"].get("next", {}).get("after")
                yield Page({"deals": [deal(item) for item in body["results"]]}, cursor={"after": after}, total=self.rows)

    def check(self) -> Sequence[Finding]:
        return ()


def measure(port: int, rows: int, page: int, folder: Path) -> tuple[float, float, Any]:
    """CPU seconds and wall seconds of one sync."""
    clock = SystemClock()

    store = Store(f"sqlite:///{folder}/kpid.db")
    store.create()
    warehouse = open_duckdb(folder / "crm.duckdb")
    connector = BenchConnector(Settings(), SourceContext("bench", ZoneInfo("Europe/Berlin"), folder, clock))
    connector.port, connector.page, connector.rows = port, page, rows
    cpu, wall = time.process_time(), time.perf_counter()
    result = sync_source("bench", connector, warehouse=warehouse, store=store, clock=clock)
    spent = time.process_time() - cpu, time.perf_counter() - wall
    warehouse.close()
    store.close()
    return *spent, result


def main() -> None:
    """Print the numbers, whatever they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--page", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    server = context.Process(target=serve, args=(theirs, options.rows, options.page), daemon=True)
    server.start()
    port = ours.recv()
    speeds = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            cpu, wall, result = measure(port, options.rows, options.page, Path(folder))
            size = (Path(folder) / "crm.duckdb").stat().st_size / 1e6
        speeds.append(result.rows / cpu)
    server.terminate()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = statistics.median(speeds)
    spread = f"{options.repeats} runs {min(speeds):,.0f}-{max(speeds):,.0f}"
    print(f"rows                    {result.rows:>12,}  (ok: {result.ok}, {options.page} a page, {os.cpu_count()} cores)")
    print(f"rows per CPU second     {speed:>12,.0f}  (bar {BAR_ROWS:,}: {'met' if speed >= BAR_ROWS else 'NOT met'}; {spread})")
    print(f"CPU seconds             {cpu:>12.2f}")
    print(f"wall seconds            {wall:>12.2f}")
    print(f"peak memory, MB         {peak:>12,.0f}  (bar {BAR_MB}: {'met' if peak <= BAR_MB else 'NOT met'})")
    print(f"warehouse file, MB      {size:>12.1f}")


if __name__ == "__main__":
    main()
