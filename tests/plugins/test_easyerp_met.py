"""Which records of a long list were met."""

from __future__ import annotations

import sys

from kpid_easyerp.met import Met


def test_met_knows_records_as_they_were_met():
    met = Met()
    assert met.is_new("57ce0000", "2026-11-01")
    assert not met.is_new("57ce0000", "2026-11-01")
    assert met.is_new("57ce0000", "2026-11-02"), "it has changed since"
    assert met.is_new("57ce0001", None)
    assert not met.is_new("57ce0001", None)
    assert len(met) == 2


def test_met_keeps_many_records_in_little():
    met = Met()
    assert all(met.is_new(f"{number:024x}", "2026-11-01T00:00:00.000Z") for number in range(20_000))
    assert not any(met.is_new(f"{number:024x}", "2026-11-01T00:00:00.000Z") for number in range(20_000))
    assert len(met) == 20_000
    held = sum(sys.getsizeof(table) for table in vars(met).values() if hasattr(table, "itemsize"))
    assert held <= 36 * 20_000
