"""Differences and relative changes, and where there is none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kpid.analysis.compare import difference, relative_change, share

D = Decimal


def test_change_from_20_to_15_percent_is_5_points_and_a_quarter():
    assert difference(D("0.15"), D("0.20")) == D("-0.05")
    assert relative_change(D("0.15"), D("0.20")) == D("-0.25")


@pytest.mark.parametrize(("new", "old"), [(D(1), D(0)), (D(1), D(-2)), (None, D(1)), (D(1), None)])
def test_relative_change_without_a_positive_reference_is_undefined(new, old):
    assert relative_change(new, old) is None


def test_share_of_a_target():
    assert share(D(90), D(120)) == D("0.75")
    assert share(D(90), D(0)) is None
    assert share(None, D(3)) is None
    assert difference(None, D(3)) is None
