"""Orders, subscriptions and recurring revenue."""

from __future__ import annotations

from kpid.plugin.entities.columns import entity, flag, instant, money, ref, text

orders = entity(
    "orders",
    "Orders or invoices.",
    ref("account_id", "accounts"),
    ref("deal_id", "deals"),
    ref("owner_id", "users"),
    instant("ordered_at"),
    instant("invoiced_at"),
    instant("paid_at"),
    text("status", "placed, paid, cancelled"),
    money("net_amount"),
    money("tax"),
    text("currency"),
)

order_lines = entity(
    "order_lines",
    "Product lines of orders.",
    ref("order_id", "orders"),
    ref("product_id", "products"),
    money("quantity"),
    money("unit_price"),
    money("net_amount", "after discounts, without tax"),
    text("currency"),
)

refunds = entity(
    "refunds",
    "Money given back on orders.",
    ref("order_id", "orders"),
    ref("account_id", "accounts"),
    instant("refunded_at"),
    money("amount", "net, positive"),
    text("currency"),
)

subscriptions = entity(
    "subscriptions",
    "Recurring contracts; a change of price or quantity ends one row and begins the next.",
    ref("account_id", "accounts"),
    ref("product_id", "products"),
    ref("owner_id", "users"),
    text("plan"),
    instant("started_at"),
    instant("ended_at", "when it stops counting: the end of the paid term"),
    instant("cancel_requested_at", "notice"),
    text("status", "trial, active, past_due, paused, ended"),
    text("interval", "week, month, quarter, half, year"),
    money("amount", "per interval, before the discount, without tax"),
    money("discount", "per interval, an amount"),
    flag("discount_forever", "the discount never ends"),
    money("quantity"),
    text("currency"),
    instant("trial_end"),
)

mrr_movements = entity(
    "mrr_movements",
    "Changes of monthly recurring revenue.",
    ref("account_id", "accounts"),
    ref("subscription_id", "subscriptions"),
    ref("owner_id", "users"),
    instant("at"),
    text("kind", "new, expansion, contraction, churn, reactivation, fx"),
    money("amount", "signed: contraction and churn are negative"),
    text("currency"),
)
