"""Products, lines of opportunities, orders and campaigns as canonical rows. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kpid_dynamics365.values import FORMATTED, Place, Record, Row, core, custom, points_to


def product_row(record: Record, place: Place) -> Row:
    """A product."""
    row = core(record, "productid")
    del row["owner_id"]
    return {
        **row,
        "name": record.get("name"),
        "code": record.get("productnumber"),
        "category": points_to_name(record, "_parentproductid_value"),
        "is_active": not record.get("statecode"),
        **custom(record, place, "products"),
    }


def points_to_name(record: Record, column: str) -> str | None:
    """The name of what a lookup refers to."""
    name = record.get(f"{column}@{FORMATTED}")
    return None if name is None else str(name)


def line_row(record: Record, place: Place) -> Row:
    """A product line of an opportunity; a written-in product is no product of the catalogue."""
    return {
        **_line(record, place, "opportunityproductid"),
        "deal_id": record.get("_opportunityid_value"),
        "discount": record.get("manualdiscountamount"),
        "amount": _less(record.get("extendedamount"), record.get("tax")),
        **custom(record, place, "deal_lines"),
    }


def order_line_row(record: Record, place: Place) -> Row:
    """A product line of an order."""
    return _order_line(record, place, "salesorderdetailid", "_salesorderid_value")


def invoice_line_row(record: Record, place: Place) -> Row:
    """A product line of an invoice."""
    return _order_line(record, place, "invoicedetailid", "_invoiceid_value")


def _order_line(record: Record, place: Place, key: str, of: str) -> Row:
    return {
        **_line(record, place, key),
        "order_id": record.get(of),
        "net_amount": _less(record.get("extendedamount"), record.get("tax")),
        **custom(record, place, "order_lines"),
    }


def _line(record: Record, place: Place, key: str) -> Row:
    row = core(record, key)
    del row["owner_id"]
    return {
        **row,
        "product_id": record.get("_productid_value"),
        "quantity": record.get("quantity"),
        "unit_price": record.get("priceperunit"),
        "currency": _currency(record, place),
    }


def order_row(record: Record, place: Place) -> Row:
    """An order, without freight and tax."""
    return _paper(record, place, "salesorderid")


def invoice_row(record: Record, place: Place) -> Row:
    """An invoice, without freight and tax."""
    return _paper(record, place, "invoiceid")


def _paper(record: Record, place: Place, key: str) -> Row:
    return {
        **core(record, key),
        "account_id": points_to(record, "_customerid_value", "account"),
        "deal_id": record.get("_opportunityid_value"),
        "ordered_at": record.get("createdon"),
        "status": place.order_states.get(record.get("statecode") or 0, "placed"),
        "net_amount": record.get("totalamountlessfreight"),
        "tax": record.get("totaltax"),
        "currency": _currency(record, place),
        **custom(record, place, "orders"),
    }


def campaign_row(record: Record, place: Place) -> Row:
    """A campaign."""
    starts, ends = _span(record)
    return {
        **core(record, "campaignid"),
        "name": record.get("name"),
        "type": record.get(f"typecode@{FORMATTED}"),
        "status": record.get(f"statuscode@{FORMATTED}"),
        "starts_on": starts,
        "ends_on": ends,
        **custom(record, place, "campaigns"),
    }


def cost_row(record: Record, place: Place) -> Row:
    """What a campaign has cost, over its days: the total of its activities, or what was put down as its other cost."""
    row = core(record, "campaignid")
    del row["owner_id"]
    starts, ends = _span(record)
    total = record.get("totalactualcost")
    return {
        **row,
        "campaign_id": row["native_id"],
        "scope": "marketing",
        "date": starts or str(record.get("createdon") or "")[:10] or None,
        "last_day": ends,
        "amount": record.get("othercost") if total is None else total,
        "currency": _currency(record, place),
        **custom(record, place, "campaign_costs"),
    }


def rate_row(record: Record, place: Place) -> Row:
    """What a unit of a currency is worth in the environment's own: since the rate was last set, for older ones are not kept."""
    modified, per_unit = record.get("modifiedon"), Decimal(str(record.get("exchangerate") or 0))
    iso, day = record.get("isocurrencycode"), str(modified or "")[:10]
    return {
        "native_id": f"{iso}-{day}",
        "created_at": modified,
        "updated_at": modified,
        "from_currency": iso,
        "to_currency": place.base,
        "valid_from": day or None,
        "rate": 1 / per_unit if per_unit else None,
        "origin": "Dynamics 365",
    }


def _span(record: Record) -> tuple[str | None, str | None]:
    """The days of a campaign: as it was, else as it was planned."""
    starts, ends = (record.get(f"actual{end}") or record.get(f"proposed{end}") for end in ("start", "end"))
    return starts and str(starts)[:10], ends and str(ends)[:10]


def _less(amount: Any, tax: Any) -> Any:
    if amount is None or tax is None:
        return amount
    return Decimal(str(amount)) - Decimal(str(tax))


def _currency(record: Record, place: Place) -> str | None:
    return place.currencies.get(str(record.get("_transactioncurrencyid_value"))) or place.currency
