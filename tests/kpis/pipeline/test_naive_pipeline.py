"""The engine against a second implementation of the pipeline KPIs, row by row in plain Python, on random canonical data."""

from __future__ import annotations

import kpid_pipeline
import kpid_sales
import pytest

from tests.kpis.pipeline import naive
from tests.kpis.sales import deals

KPIS = {kpi.id: kpi for module in (kpid_sales, kpid_pipeline) for kpi in module.kpid_kpis()}
NAMES = sorted({name for name, _ in naive.MODEL})


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_engine_agrees_with_plain_python(name, seed, tmp_path):
    model = {key: one for key, one in naive.MODEL.items() if key[0] == name}
    deals.compare(model, KPIS, deals.random_rows(seed), tmp_path, seed)


def test_engine_agrees_where_nobody_has_a_history(tmp_path):
    rows = deals.random_rows(3) | {"deal_stage_history": [], "deal_field_history": []}
    deals.compare(naive.BALANCES, KPIS, rows, tmp_path, 3)


def test_every_choice_is_compared():
    """But for those of the coverage, which needs a target and is compared by hand."""
    seen = {(name, key, value) for name, params in naive.MODEL for key, value in params} | {
        ("stale_deal_share", "missing_fx", "error")
    }
    for kpi in kpid_pipeline.kpid_kpis():
        for name, param in kpi.params.items():
            if param.kind == "choice" and kpi.id != "pipeline_coverage":
                assert not [v for v in param.choices[1:] if (kpi.id, name, v) not in seen], (kpi.id, name)
