"""Rates of e-mails. The later events of a mail are credited to its send, which is why young sends are incomplete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

from sqlalchemy import ColumnElement, Date, and_, literal, not_, or_

from kpid.plugin import Benchmark, Definition, Kpi, Measure, Param, Values, local_date, sum_
from kpid_marketing.sends import BOUNCED, DELIVERED, DIMENSIONS, SENDS, SENT, C, sends_where

SETTLE = Param.number("72", "How many hours after the period its sends are still opened, clicked or returned.", least=0)
MACHINES = ("exclude", "include", "estimate")
_MAILCHIMP = "Mailchimp, averages of all accounts, October 2019"
_BOUNDARY = date(2021, 9, 20)
"""Since then Apple Mail opens mails by itself (Mail Privacy Protection, iOS 15)."""

_KINDS = {"all": BOUNCED, "hard": and_(BOUNCED, C.hard == 1), "soft": and_(BOUNCED, C.soft == 1, C.hard == 0)}
_BY_MACHINE = and_(C.opened == 1, C.opened_by_person == 0)


def _settled(params: Mapping[str, str]) -> timedelta:
    return timedelta(hours=int(params["settle_hours"]))


def _delivery(params: Mapping[str, str]) -> Definition:
    is_bounce = params["form"] == "bounce"
    return Definition(
        {"bounced": sends_where(_KINDS[params["kind"]], "bounced mails"), "sent": sends_where(None, "sent mails")},
        lambda m: m.bounced / m.sent if is_bounce else (m.sent - m.bounced) / m.sent,
        sample="sent",
        horizon=_settled(params),
        optional=("campaigns",),
    )


EMAIL_DELIVERY_RATE = Kpi(
    id="email_delivery_rate",
    name="E-mail delivery rate",
    category="marketing",
    unit="ratio",
    better="up",
    define=_delivery,
    min_sample=100,
    dimensions=DIMENSIONS,
    params={
        "form": Param(("delivery", "bounce"), "Share that did not bounce, or share that did (then less is better)."),
        "kind": Param(("all", "hard", "soft"), "Which bounces; a bounce of unknown kind is in all only."),
        "settle_hours": SETTLE,
    },
    formula_text="(sent - bounced) / sent, by the time of sending; form=bounce: bounced / sent",
    why="Bad addresses hurt the reputation that all later mails need.",
    misleads="What ends in the spam folder did not bounce.",
    source="Mailchimp",
    settle="72h",
    requires=("email_events",),
    additivity="R",
    benchmark=Benchmark("0.9899", "hard bounces 0.40 %, soft 0.61 %", _MAILCHIMP, 2019),
    number=43,
)


def _opened(machine_opens: str) -> ColumnElement[bool]:
    return C.opened == 1 if machine_opens == "include" else C.opened_by_person == 1


def _open_rate(params: Mapping[str, str]) -> Definition:
    machine_opens, is_sent = params["machine_opens"], params["base"] == "sent"
    base = literal(1) == 1 if is_sent else DELIVERED
    below = and_(base, not_(_BY_MACHINE)) if machine_opens == "estimate" else base
    opened = and_(base, _opened(machine_opens))
    opens = C.opens if machine_opens == "include" else C.opens_by_person
    above = sends_where(opened, "opened mails")
    if params["opens"] == "total":
        above = Measure(SENDS, SENT, sum_(opens, opened), label="opens")
    return Definition(
        {"opened": above, "mails": sends_where(below, "sent mails" if is_sent else "delivered mails"), **_boundary(base)},
        lambda m: m.opened / m.mails,
        sample="mails",
        horizon=_settled(params),
        remarks=_across_boundary(is_estimated=machine_opens == "estimate"),
        optional=("campaigns",),
    )


def _boundary(base: ColumnElement[bool]) -> dict[str, Measure]:
    """What the remarks about privacy proxies need."""
    since = local_date(C.sent_at) >= literal(_BOUNDARY, Date())
    return {
        "before": sends_where(and_(base, not_(since)), "mails before September 2021"),
        "unflagged": sends_where(and_(base, since, C.unflagged == 1), "opens of unknown kind"),
        "machines": sends_where(and_(base, _BY_MACHINE), "mails opened by machines only"),
    }


def _across_boundary(*, is_estimated: bool) -> Callable[[Values], Sequence[str]]:
    def remarks(m: Values) -> Sequence[str]:
        before, unflagged, machines = (int(q.numerator or 0) for q in (m.before, m.unflagged, m.machines))
        found = []
        if before:
            found.append(
                "sent before 20 September 2021, when Apple Mail began to open mails itself: never compare or alert across it"
            )
        if unflagged:
            found.append(f"inflated since September 2021: {unflagged} opened mails do not tell people from privacy proxies")
        if machines and is_estimated:
            found.append(f"{machines} mails opened by machines only are left out of both sides: nobody knows who read them")
        return found

    return remarks


EMAIL_OPEN_RATE = Kpi(
    id="email_open_rate",
    name="E-mail open rate",
    category="marketing",
    unit="ratio",
    better="up",
    define=_open_rate,
    min_sample=100,
    dimensions=DIMENSIONS,
    params={
        "base": Param(("delivered", "sent"), "What opens are divided by."),
        "opens": Param(("unique", "total"), "Each mail once, or every open."),
        "machine_opens": Param(MACHINES, "Opens by privacy proxies, where the source marks them."),
        "settle_hours": SETTLE,
    },
    formula_text="opened mails / delivered mails, by the time of sending; base=sent: / sent mails",
    why="Whether subject and sender still make people look.",
    misleads="Apple Mail opens mails by itself since September 2021: where the source does not mark that, the rate is inflated.",
    source="200 opened of 1 000 sent = 20 %; HubSpot divides by delivered",
    settle="72h",
    requires=("email_events",),
    additivity="R",
    benchmark=Benchmark("0.2271", "before Apple Mail Privacy Protection", _MAILCHIMP, 2019),
    degrades={"email_sends.machine_open_count": "Without the marks of machines' opens, all count and the rate is inflated."},
    number=44,
)


def _clicks(params: Mapping[str, str]) -> Definition:
    return Definition(
        {
            "clicked": sends_where(and_(DELIVERED, C.clicked == 1), "clicked mails"),
            "delivered": sends_where(DELIVERED, "delivered mails"),
        },
        lambda m: m.clicked / m.delivered,
        sample="delivered",
        horizon=_settled(params),
        optional=("campaigns",),
    )


EMAIL_CLICK_RATE = Kpi(
    id="email_click_rate",
    name="E-mail click rate",
    category="marketing",
    unit="ratio",
    better="up",
    define=_clicks,
    min_sample=100,
    dimensions=DIMENSIONS,
    params={"settle_hours": SETTLE},
    formula_text="mails with a click by a person / delivered mails, by the time of sending",
    why="Whether the mail moves anybody; no mail program fakes it.",
    misleads="Scanners that click are people where the source does not mark them; the click-to-open rate is another, far higher.",
    source="40 clicked of 1 000 delivered = 4 %",
    settle="72h",
    requires=("email_events",),
    additivity="R",
    benchmark=Benchmark("0.0291", "clicks of delivered mails", _MAILCHIMP, 2019),
    number=45,
)


def _click_to_open(params: Mapping[str, str]) -> Definition:
    clicked = C.clicked == 1
    return Definition(
        {
            "clicked": sends_where(clicked, "clicked mails"),
            "opened": sends_where(or_(_opened(params["machine_opens"]), clicked), "opened mails"),
            **_boundary(literal(1) == 1),
        },
        lambda m: m.clicked / m.opened,
        sample="opened",
        horizon=_settled(params),
        remarks=_across_boundary(is_estimated=False),
        optional=("campaigns",),
    )


EMAIL_CLICK_TO_OPEN_RATE = Kpi(
    id="email_click_to_open_rate",
    name="Click-through rate (HubSpot naming)",
    category="marketing",
    unit="ratio",
    better="up",
    define=_click_to_open,
    min_sample=100,
    dimensions=DIMENSIONS,
    params={
        "machine_opens": Param(MACHINES[:2], "Opens by privacy proxies, where the source marks them."),
        "settle_hours": SETTLE,
    },
    formula_text="clicked mails / opened mails, by the time of sending; a click implies an open",
    why="Whether those who look find what they were promised.",
    misleads="Opens by mail programs deflate it since September 2021: prefer the click rate.",
    source="40 clicked of 200 opened = 20 %; rasa.io",
    settle="72h",
    requires=("email_events",),
    additivity="R",
    number=46,
)


def _unsubscribes(params: Mapping[str, str]) -> Definition:
    return Definition(
        {
            "left": sends_where(and_(DELIVERED, C.unsubscribed == 1), "unsubscribes"),
            "delivered": sends_where(DELIVERED, "delivered mails"),
        },
        lambda m: m.left / m.delivered,
        sample="delivered",
        horizon=_settled(params),
        optional=("campaigns",),
    )


EMAIL_UNSUBSCRIBE_RATE = Kpi(
    id="email_unsubscribe_rate",
    name="Unsubscribe rate",
    category="marketing",
    unit="ratio",
    better="down",
    define=_unsubscribes,
    min_sample=500,
    dimensions=DIMENSIONS,
    params={"settle_hours": SETTLE},
    formula_text="unsubscribes / delivered mails, by the time of sending",
    why="When mails come too often or to the wrong people, this moves first.",
    misleads="Those who report spam or stop reading are not in it.",
    source="Mailchimp",
    settle="72h",
    requires=("email_events",),
    additivity="R",
    benchmark=Benchmark("0.0025", "unsubscribes of delivered mails", _MAILCHIMP, 2019),
    number=47,
)

KPIS = (
    EMAIL_DELIVERY_RATE, EMAIL_OPEN_RATE, EMAIL_CLICK_RATE, EMAIL_CLICK_TO_OPEN_RATE, EMAIL_UNSUBSCRIBE_RATE,
)  # fmt: skip
