"""``kpid sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kpid.cli.output import print_json, print_rows
from kpid.cli.session import FormatOption, session_of


def sample(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the CSV files; made if missing.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed and day give the same files.")] = 7,
    format: FormatOption = "table",  # noqa: A002 - the option's name
) -> int:
    """Write two years of an invented company's CRM data as CSV files."""
    from kpid.sample import write_sample  # noqa: PLC0415

    session = session_of(context, None)
    rows = write_sample(out, seed=seed, now=session.clock().now())
    if format == "json":
        print_json(rows)
        return 0
    listed = [{"file": str(out / f"{name}.csv"), "rows": count} for name, count in rows.items()]
    print_rows(listed, dict.fromkeys(("file", "rows")), none="nothing was written")
    return 0
