"""The support KPIs against plain Python on random canonical data: every KPI, every choice."""

from __future__ import annotations

import kpid_support
import pytest

from tests.kpis.agreement import choices, compare, compared
from tests.kpis.support import naive

KPIS = {kpi.id: kpi for kpi in kpid_support.kpid_kpis()}


@pytest.mark.parametrize("seed", range(2))
def test_engine_agrees_with_plain_python(seed, tmp_path):
    compare(naive.KPIS, KPIS, tmp_path, seed)


def test_durations_agree_with_plain_python(tmp_path):
    compare(naive.DURATIONS, KPIS, tmp_path, 2)


def test_every_kpi_and_every_choice_is_compared():
    assert compared({**naive.KPIS, **naive.DURATIONS}, KPIS) >= choices(KPIS)
    assert {name for name, _ in (*naive.KPIS, *naive.DURATIONS)} == set(KPIS)
