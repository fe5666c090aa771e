"""Findings about the data itself: rows that no KPI can count rightly, whatever the connector did. One query per entity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kpid.analysis.wording import count_text
from kpid.warehouse import Warehouse

LIVING = "deleted_at IS NULL AND merged_into_id IS NULL AND is_test IS NOT TRUE"


@dataclass(frozen=True, slots=True)
class Check:
    """Rows of ``entity`` for which ``where`` holds (``$1`` is now) are a problem of ``column``."""

    entity: str
    column: str
    name: str
    where: str
    text: str
    hint: str

    @property
    def subject(self) -> str:
        """Its place among the problems."""
        return f"data:{self.entity}/{self.column} {self.name}"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A check that found something: how many rows, and the id of one."""

    check: Check
    count: int
    example: str

    @property
    def text(self) -> str:
        """One sentence for people."""
        text = self.check.text
        if self.count == 1:
            verb, _, rest = text.partition(" ")
            text = f"{_ONE[verb]} {rest}".replace("they were", "it was")
        return f"{count_text(self.count, self.check.entity.removesuffix('s'))} {text}, for example {self.example}"


_ONE = {"are": "is", "were": "was", "have": "has"}

CHECKS = (
    Check("deals", "closed_at", "in the future", "closed_at > $1", "are closed in the future",
          "They count from that day on; correct the close date in the CRM if it is a plan"),
    Check("deals", "closed_at", "before created_at", "closed_at < created_at", "were closed before they were created",
          "They are left out of sales cycles; correct the dates in the CRM"),
    Check("deals", "closed_at", "missing", "state IN ('won', 'lost') AND closed_at IS NULL",
          "are won or lost without a close date", "They count in no period; set the close date in the CRM, or map `closed_at`"),
    Check("deals", "created_at", "missing", "created_at IS NULL", "have no creation date",
          "They count as open today only, and in no period of new pipeline; map `created_at`"),
    Check("deals", "amount", "missing", "state = 'won' AND amount IS NULL", "are won without an amount",
          "They are left out of sums and averages; set the amount in the CRM"),
    Check("deals", "state", "unknown", "state IS NULL OR state NOT IN ('open', 'won', 'lost')",
          "have a state that is not open, won or lost",
          "Map every stage to open, won or lost (`values:` in the source, with \"*\" for the rest)"),
    Check("deals", "currency", "unknown", "currency IS NOT NULL AND currency !~ '^[A-Z]{3}$'",
          "have a currency that is not an ISO code", "Map it to three capital letters, for example EUR"),
    Check("orders", "currency", "unknown", "currency IS NOT NULL AND currency !~ '^[A-Z]{3}$'",
          "have a currency that is not an ISO code", "Map it to three capital letters, for example EUR"),
    Check("survey_responses", "score", "off the scale", "score < scale_min OR score > scale_max",
          "have a score that is off its scale", "They are left out; check the scale in the mapping"),
)  # fmt: skip


def find_flaws(warehouse: Warehouse, now: datetime) -> list[Flaw]:
    """All checks that find something, as of ``now``."""
    flaws: list[Flaw] = []
    for entity in dict.fromkeys(check.entity for check in CHECKS):
        checks = [check for check in CHECKS if check.entity == entity]
        picked = ", ".join(
            f"count(*) FILTER (WHERE {check.where}) AS n{i}, min(id) FILTER (WHERE {check.where}) AS x{i}"
            for i, check in enumerate(checks)
        )
        uses_now = any("$1" in check.where for check in checks)
        row = warehouse.query(f"SELECT {picked} FROM {entity} WHERE {LIVING}", [now] if uses_now else []).to_pylist()[0]
        flaws.extend(Flaw(check, row[f"n{i}"], row[f"x{i}"]) for i, check in enumerate(checks) if row[f"n{i}"])
    return flaws
