"""Whether all of a source's records are there: its own count beside ours."""

from __future__ import annotations

from kpid.errors import AuthError, ConnectorError, DeferredError, PluginError
from kpid.ingest.reconcile import living_rows
from kpid.ingest.run import Run, Tally, ask
from kpid.plugin import EntityReads

COUNT = "count"
"""The name of this check among the findings."""

_FEW, _SHARE = 2, 0.005
"""Records come and go while a read goes on: a difference up to the larger of these is none."""


def compare_count(run: Run, reads: EntityReads, tally: Tally, *, listed: int | None = None) -> None:
    """Compare the source's own number of records with the rows that are stored, after a read of the whole.

    A source that cannot be asked now is no finding: what was read is read.

    Args:
        run: the sync that this is part of.
        reads: what the connector promises for the entity.
        tally: gets the finding, or the news that all is well.
        listed: how many records the source has just listed by id.

    Raises:
        AuthError: the credentials are refused.
    """
    if not reads.counted:
        return
    try:
        counted = ask(run.source, run.connector, lambda: run.connector.count(reads.entity))
    except DeferredError:
        return
    except AuthError:
        raise
    except (ConnectorError, PluginError) as error:
        tally.warnings.append(f"The source did not say how many {reads.entity} it has: {error}")
        return
    if counted is None:
        return
    stored = living_rows(run.warehouse, run.source, reads.entity)
    said = [f"{stored:,} are stored"] if _differs(counted, stored) else []
    if listed is not None and _differs(counted, listed):
        said.insert(0, f"it lists {listed:,} by id")
    tally.findings[COUNT] = (f"The source counts {counted:,} {reads.entity}; {', '.join(said)}", _HINT) if said else None


_HINT = (
    "Some may be hidden from kpid's user (a permission such as View All), or left out by a filter of the source; "
    "`kpid sync --full` reads everything again"
)


def _differs(counted: int, other: int) -> bool:
    return abs(counted - other) > max(_FEW, _SHARE * max(counted, other))
