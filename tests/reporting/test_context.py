from __future__ import annotations

import json

import pytest

from kpid.errors import KpidError
from kpid.reporting.context import context_from_json, context_to_json
from kpid.reporting.samples import sample_contexts
from tests.reporting.weeks import CALENDAR


@pytest.mark.parametrize("index", [0, 1, 2])
def test_context_comes_back_from_json_as_it_was(index: int) -> None:
    context = sample_contexts("weekly_sales", CALENDAR)[index]
    assert context_from_json(context_to_json(context)) == context


def test_context_of_another_version_is_refused() -> None:
    data = json.loads(context_to_json(sample_contexts("weekly_sales", CALENDAR)[0]))
    with pytest.raises(KpidError, match="this version"):
        context_from_json(json.dumps(data | {"schema": 99}))
    with pytest.raises(KpidError, match="this version"):
        context_from_json("[]")


def test_context_from_before_intervals_is_read_without_them() -> None:
    data = json.loads(context_to_json(sample_contexts("weekly_sales", CALENDAR)[0]))
    for line in data["kpis"]:
        del line["low"], line["high"]
    assert context_from_json(json.dumps(data)).kpis[0].low is None


def test_damaged_context_is_refused() -> None:
    data = json.loads(context_to_json(sample_contexts("weekly_sales", CALENDAR)[0]))
    del data["kpis"]
    with pytest.raises(KpidError, match="damaged"):
        context_from_json(json.dumps(data))
