"""Products, lines of deals, orders, invoices and exchange rates as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

from kpid_hubspot.values import Links, Place, Record, Row, core, custom, instant, kept, local_date, number, text

INTERVALS = {"monthly": "month", "quarterly": "quarter", "annually": "year"}
ORDER_STATES = {
    "cancelled": "cancelled", "canceled": "cancelled", "voided": "cancelled", "refunded": "cancelled", "paid": "paid",
}  # fmt: skip
INVOICE_STATES = {"paid": "paid", "voided": "cancelled"}


def product_row(record: Record, links: Links, place: Place) -> Row:
    """What is sold; what is not sold any more is deleted."""
    return {
        **kept(record, place),
        "name": text(record, "name"),
        "code": text(record, "hs_sku"),
        "category": text(record, "hs_product_type"),
        "is_active": True,
        **custom(record, place, "products"),
    }


def line_row(record: Record, links: Links, place: Place) -> Row:
    """A product line. Those of quotes and orders belong to no deal."""
    recurs = text(record, "recurringbillingfrequency")
    return {
        **kept(record, place),
        "deal_id": links.get("deals"),
        "product_id": text(record, "hs_product_id"),
        "quantity": number(text(record, "quantity")),
        "unit_price": number(text(record, "price")),
        "discount": _discount(record),
        "amount": number(text(record, "amount")),
        "currency": text(record, "hs_line_item_currency_code") or place.currency,
        "is_recurring": recurs is not None,
        "interval": INTERVALS.get(recurs or ""),
        **custom(record, place, "deal_lines"),
    }


def _discount(record: Record) -> Decimal | str | None:
    """Of the whole line; where only that of one piece is told, or a share, it is worked out."""
    whole = number(text(record, "hs_total_discount"))
    if whole is not None:
        return whole
    quantity, price, each, percent = (
        value if isinstance(value := number(text(record, name)), Decimal) else None
        for name in ("quantity", "price", "discount", "hs_discount_percentage")
    )
    if quantity is not None and each is not None:
        return quantity * each
    if quantity is not None and price is not None and percent is not None:
        return quantity * price * percent / 100
    return None


def order_row(record: Record, links: Links, place: Place) -> Row:
    """An order, in most portals copied from a shop: the shop's time of ordering counts."""
    said = text(record, "hs_external_order_status") or ""
    total, tax = number(text(record, "hs_total_price")), number(text(record, "hs_tax"))
    is_taxed = isinstance(total, Decimal) and isinstance(tax, Decimal)
    row = core(record, place)
    return {
        **row,
        "account_id": links.get("companies"),
        "deal_id": links.get("deals"),
        "ordered_at": _first(record, place, "hs_external_created_date", "hs_processed_date") or row["created_at"],
        "status": place.states.get(said) or ORDER_STATES.get(said.lower(), "placed"),
        "net_amount": total - tax if is_taxed else total,  # type: ignore[operator]
        "tax": tax,
        "currency": text(record, "hs_currency_code") or place.currency,
        **custom(record, place, "orders"),
    }


def invoice_row(record: Record, links: Links, place: Place) -> Row:
    """An invoice that is no draft. HubSpot tells what was billed."""
    said = text(record, "hs_invoice_status") or ""
    row = core(record, place)
    return {
        **row,
        "account_id": links.get("companies"),
        "deal_id": links.get("deals"),
        "ordered_at": _first(record, place, "hs_invoice_date") or row["created_at"],
        "status": place.states.get(said) or INVOICE_STATES.get(said, "placed"),
        "net_amount": number(text(record, "hs_amount_billed")),
        "tax": None,
        "currency": text(record, "hs_currency") or place.currency,
        **custom(record, place, "orders"),
    }


def _first(record: Record, place: Place, *names: str) -> Any:
    return next((instant(value, place.zone) for name in names if (value := text(record, name))), None)


def rate_rows(rates: Iterable[Mapping[str, Any]], place: Place) -> list[Row]:
    """What each currency was worth from when until when. Of several rates of one day the last one counts."""
    pair = itemgetter("fromCurrencyCode", "toCurrencyCode")
    rows = []
    for (one, other), found in groupby(sorted(rates, key=lambda rate: (*pair(rate), str(rate["effectiveAt"]))), key=pair):
        days = {local_date(instant(str(rate["effectiveAt"]), place.zone), place.zone): rate for rate in found}
        starts = [day for day in days if isinstance(day, date)]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            rows.append(
                {
                    "native_id": str(days[start]["id"]),
                    "created_at": days[start].get("createdAt"),
                    "updated_at": days[start].get("updatedAt"),
                    "from_currency": one,
                    "to_currency": other,
                    "valid_from": start,
                    "valid_to": end,
                    "rate": Decimal(str(days[start]["conversionRate"])),
                    "origin": "HubSpot",
                }
            )
    return rows
