"""Accounts inside derived entities: what was merged stands for the account that is left, and not every account counts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, not_, or_, select, union_all
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import entities
from kpid.plugin.expressions import GONE, counts


def _register() -> Subquery:
    """``member_id, account_id, counted`` of accounts that do not simply stand for themselves.

    What was merged, even twice, stands for the account that is left. Deleted and test accounts and the company's own (lifecycle
    internal) do not count, nor what was merged into them. All others are not in it: they are most, and need no join.
    """
    a, merged, between, stays = (entities.accounts.alias(name) for name in ("member", "merged", "between", "stays"))
    account = func.coalesce(between.c.merged_into_id, merged.c.merged_into_id)
    joined = merged.outerjoin(between, between.c.id == merged.c.merged_into_id).outerjoin(stays, stays.c.id == account)
    is_out = or_(a.c.deleted_at <= GONE, func.coalesce(a.c.is_test, True), a.c.lifecycle == "internal")
    found = and_(
        stays.c.id.is_not(None), not_(merged.c.is_test), *counts(stays), func.coalesce(stays.c.lifecycle, "") != "internal"
    )
    out = select(a.c.id.label("member_id"), a.c.id.label("account_id"), literal(0).label("counted"))
    gone = select(merged.c.id, account, case((found, 1), else_=0)).select_from(joined)
    return union_all(out.where(a.c.merged_into_id.is_(None), is_out), gone.where(merged.c.merged_into_id.is_not(None))).subquery(
        "register"
    )


def by_account(
    source: FromClause,
    name: str,
    *columns: ColumnElement[Any],
    where: ColumnElement[bool] | None = None,
    or_nobody: bool = False,
) -> Subquery:
    """The given columns of a source that has an ``account_id``, and ``account_id`` of the account that counts.

    An account that no source has delivered is taken as it stands.

    Args:
        source: rows of accounts; what is deleted among them has to be left out already (``living``).
        name: what the result is called in SQL.
        columns: of the source.
        where: which rows of the source.
        or_nobody: keep rows that belong to no account.
    """
    register = _register()
    account = func.coalesce(register.c.account_id, source.c.account_id)
    conditions = [func.coalesce(register.c.counted, 1) == 1]
    conditions += [] if or_nobody else [source.c.account_id.is_not(None)]
    conditions += [where] if where is not None else []
    joined = source.outerjoin(register, register.c.member_id == source.c.account_id)
    return select(account.label("account_id"), *columns).select_from(joined).where(*conditions).subquery(name)


def described(rows: FromClause, name: str) -> Subquery:
    """Rows with an ``account_id``, and what accounts are cut by: owner, region, lead source, source."""
    a = entities.accounts.alias("described")
    columns = (a.c.owner_id, a.c.region, a.c.lead_source, a.c.source_id)
    return select(*rows.c, *columns).select_from(rows.outerjoin(a, a.c.id == rows.c.account_id)).subquery(name)
