"""Dimensions: looked up by id, one row stays one row."""

from __future__ import annotations

import pytest

from kpid.errors import ConfigError
from kpid.metrics.dialects import text_of
from kpid.metrics.dimensions import check_dimensions, dimension_of, labels_table
from kpid.plugin import entities


@pytest.mark.parametrize(
    ("table", "name", "expression", "labels"),
    [
        ("deals", "owner", "deals.owner_id", "users"),
        ("deals", "team", "dim_owner.team", None),
        ("deals", "region", "coalesce(deals.region, dim_owner.region)", None),
        ("activities", "region", "dim_owner.region", None),
        ("accounts", "region", "coalesce(accounts.region, dim_owner.region)", None),
        ("accounts", "segment", "accounts.segment", None),
        ("deals", "segment", "dim_account.segment", None),
        ("tickets", "account", "tickets.account_id", "accounts"),
        ("deals", "pipeline", "deals.pipeline_id", "pipelines"),
        ("deals", "stage", "deals.stage_id", "stages"),
        ("leads", "lead_source", "leads.lead_source", None),
        ("tickets", "source", "tickets.source_id", None),
        ("watermarks", "entity", "watermarks.entity", None),
    ],
)
def test_dimension_of_a_table(table, name, expression, labels):
    dimension = dimension_of(entities.metadata.tables[table], name)
    assert text_of(dimension.expression) == expression
    assert dimension.labels == labels == labels_table(name)


def test_looked_up_dimension_joins_on_the_id_and_says_what_it_depends_on():
    dimension = dimension_of(entities.deals, "team")
    [(table, condition)] = dimension.joins
    assert (table.name, text_of(condition), dimension.depends_on) == ("dim_owner", "dim_owner.id = deals.owner_id", "users")
    assert dimension_of(entities.deals, "segment").depends_on == "accounts"


def test_table_without_the_column_has_no_such_dimension():
    assert dimension_of(entities.tickets, "pipeline") is None
    assert dimension_of(entities.watermarks, "team") is None
    assert dimension_of(entities.leads, "colour") is None


def test_a_deal_size_band_is_of_deals_only():
    assert "deals.amount" in text_of(dimension_of(entities.deals, "deal_size_band").expression)
    assert dimension_of(entities.subscriptions, "deal_size_band") is None
    assert dimension_of(entities.refunds, "deal_size_band") is None


def test_dimension_that_one_measure_lacks_is_refused(kpis):
    tables = [entities.activities, entities.deals]
    check_dimensions(kpis["calls_per_sale"], tables, ["owner", "team"])
    with pytest.raises(ConfigError, match=r"calls_per_sale cannot be cut by 'product'\. It can be cut by owner, team, region"):
        check_dimensions(kpis["calls_per_sale"], tables, ["product"])
