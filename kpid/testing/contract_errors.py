"""What the contracts look at where something fails: how far it reaches, and what its errors tell."""

from __future__ import annotations

from typing import Any

from kpid.errors import ConnectorError
from kpid.testing.bench import SourceBench, connected
from kpid.testing.expecting import expect
from kpid.testing.memory import MemorySync


def sync_each(bench: SourceBench, held: MemorySync, **options: Any) -> dict[str, ConnectorError]:
    """One more sync, entity by entity as the real one goes on; what failed, by entity."""
    failed: dict[str, ConnectorError] = {}
    with connected(bench.connector(**options) if options else bench.connector()) as connector:
        for reads in connector.reads():
            try:
                held.run(connector, entity=reads.entity)
            except ConnectorError as error:
                failed[reads.entity] = error
    return failed


def expect_no_secret(bench: SourceBench, error: BaseException | None) -> None:
    """Neither the error nor what it came of tells a secret."""
    while error is not None:
        text = f"{error!s} {error!r} {vars(error)}"
        expect(not any(secret in text for secret in bench.secrets), f"an error tells a secret: {type(error).__name__}")
        error = error.__cause__ or error.__context__
