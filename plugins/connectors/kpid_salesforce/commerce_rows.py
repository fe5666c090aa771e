"""Products, lines, orders, contracts and campaigns as canonical rows. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kpid_salesforce.values import Place, Record, Row, core, custom, day_after, midnight, share

FIRST_DAY = "1970-01-01"
"""Rates without dates hold for ever."""
ORDER_STATES = {"Canceled": "cancelled", "Cancelled": "cancelled", "Expired": "cancelled"}


def product_row(record: Record, place: Place) -> Row:
    """What is sold."""
    return {
        **core(record),
        "name": record.get("Name"),
        "code": record.get("ProductCode"),
        "category": record.get("Family"),
        "is_active": record.get("IsActive"),
        **custom(record, place, "products"),
    }


def deal_line_row(record: Record, place: Place) -> Row:
    """A product line of a deal. Salesforce's discount is in percent."""
    quantity, price, percent = (_number(record.get(name)) for name in ("Quantity", "UnitPrice", "Discount"))
    return {
        **core(record),
        "deal_id": record.get("OpportunityId"),
        "product_id": record.get("Product2Id"),
        "quantity": record.get("Quantity"),
        "unit_price": record.get("UnitPrice"),
        "discount": None if quantity is None or price is None or percent is None else quantity * price * percent / 100,
        "amount": record.get("TotalPrice"),
        "currency": record.get("CurrencyIsoCode") or place.currency,
        **custom(record, place, "deal_lines"),
    }


def order_row(record: Record, place: Place) -> Row:
    """An order that is no draft."""
    return {
        **core(record),
        "account_id": record.get("AccountId"),
        "deal_id": record.get("OpportunityId"),
        "owner_id": record.get("OwnerId"),
        "ordered_at": midnight(record.get("EffectiveDate"), place.zone),
        "status": place.states.get(record.get("Status") or "") or ORDER_STATES.get(record.get("StatusCode") or "", "placed"),
        "net_amount": record.get("TotalAmount"),
        "currency": record.get("CurrencyIsoCode") or place.currency,
        **custom(record, place, "orders"),
    }


def refund_row(record: Record, place: Place) -> Row:
    """A reduction of an order: its total is negative."""
    total = _number(record.get("TotalAmount"))
    return {
        **core(record),
        "order_id": record.get("OriginalOrderId"),
        "account_id": record.get("AccountId"),
        "refunded_at": midnight(record.get("EffectiveDate"), place.zone),
        "amount": None if total is None else abs(total),
        "currency": record.get("CurrencyIsoCode") or place.currency,
        **custom(record, place, "refunds"),
    }


def contract_row(record: Record, place: Place) -> Row:
    """A contract that is or was in force. What it brings a month, or by another `interval`, only own fields say."""
    is_over = record.get("StatusCode") in {"Terminated", "Expired"}
    return {
        **core(record),
        "account_id": record.get("AccountId"),
        "owner_id": record.get("OwnerId"),
        "plan": record.get("Name"),
        "started_at": midnight(record.get("StartDate"), place.zone),
        "ended_at": midnight(day_after(record.get("EndDate")), place.zone),
        "status": "ended" if is_over else "active",
        "interval": "month",
        "currency": record.get("CurrencyIsoCode") or place.currency,
        **custom(record, place, "subscriptions"),
    }


def order_line_row(record: Record, place: Place) -> Row:
    """A product line of an order."""
    return {
        **core(record),
        "order_id": record.get("OrderId"),
        "product_id": record.get("Product2Id"),
        "quantity": record.get("Quantity"),
        "unit_price": record.get("UnitPrice"),
        "net_amount": record.get("TotalPrice"),
        "currency": record.get("CurrencyIsoCode") or place.currency,
        **custom(record, place, "order_lines"),
    }


def campaign_row(record: Record, place: Place) -> Row:
    """A campaign."""
    return {
        **core(record),
        "name": record.get("Name"),
        "type": record.get("Type"),
        "status": record.get("Status"),
        "owner_id": record.get("OwnerId"),
        "parent_id": record.get("ParentId"),
        "starts_on": record.get("StartDate"),
        "ends_on": record.get("EndDate"),
        **custom(record, place, "campaigns"),
    }


def cost_row(record: Record, place: Place) -> Row:
    """What a campaign has cost, over the days on which it ran; the first of them is that of its making if it has none."""
    first = record.get("StartDate") or str(record.get("CreatedDate") or "")[:10] or None
    return {
        **core(record),
        "campaign_id": record["Id"],
        "scope": "marketing",
        "date": first,
        "last_day": record.get("EndDate"),
        "amount": record.get("ActualCost"),
        "currency": record.get("CurrencyIsoCode") or place.currency,
    }


def member_row(record: Record, place: Place) -> Row:
    """A person to whom a campaign was shown."""
    return {
        **core(record),
        "campaign_id": record.get("CampaignId"),
        "person_id": record.get("ContactId") or record.get("LeadId"),
        "exposed_at": record.get("CreatedDate"),
        "responded_at": midnight(record.get("FirstRespondedDate"), place.zone),
        **custom(record, place, "campaign_members"),
    }


def influence_row(record: Record, place: Place) -> Row:
    """Which part of a deal a campaign is credited with, by a model that the configuration names."""
    return {
        **core(record),
        "deal_id": record.get("OpportunityId"),
        "campaign_id": record.get("CampaignId"),
        "model": place.states.get(str(record.get("ModelId"))),
        "weight": share(record.get("Influence")),
    }


def rate_row(record: Record, corporate: str) -> Row | None:
    """What a currency is worth in the company's own; None for that one itself. Salesforce says it the other way round."""
    code, rate = record.get("IsoCode"), _number(record.get("ConversionRate"))
    if not code or code == corporate or not rate:
        return None
    return {
        **core(record),
        "from_currency": code,
        "to_currency": corporate,
        "valid_from": record.get("StartDate") or FIRST_DAY,
        "valid_to": None if str(record.get("NextStartDate")).startswith("9999") else record.get("NextStartDate"),
        "rate": (1 / rate).quantize(Decimal("1e-10")),
        "origin": "Salesforce",
    }


def _number(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, int | Decimal) else None
