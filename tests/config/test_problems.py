from __future__ import annotations

import pytest
from pydantic import ValidationError

from kpid.config.model import Config
from kpid.config.problems import ConfigErrors, each_error, errors_of, near_miss, raise_errors
from kpid.errors import ConfigError


def told(values: dict[str, object]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(values)
    return [str(error) for error in errors_of(caught.value, Config, lambda *keys: ".".join(map(str, keys)))]


@pytest.mark.parametrize(
    ("wanted", "known", "said"),
    [
        ("recieve", ["receive", "send"], "Did you mean 'receive'?"),
        ("Win-Rate", ["win_rate"], "Did you mean 'win_rate'?"),
        ("colour", ["owner", "region"], "Known: owner, region"),
        ("x", [], "Known: none"),
        ("zzz", [f"k{n:02}" for n in range(30)], "Known: " + ", ".join(f"k{n:02}" for n in range(20)) + " ..."),
    ],
)
def test_near_miss_suggests_or_lists(wanted: str, known: list[str], said: str) -> None:
    assert near_miss(wanted, known) == said


def test_unknown_keys_are_judged_by_the_part_they_stand_in() -> None:
    said = told(
        {
            "timezone": "UTC",
            "kpis": {"a": {"traget": 1}},
            "logging": {"levl": "info"},
            "sources": {"s": {"connector": "x", "evry": 1}},
        }
    )
    assert said == [
        "sources.s.evry: unknown key 'evry'. Did you mean 'every'?",
        "kpis.a.traget: unknown key 'traget'. Did you mean 'target'?",
        "logging.levl: unknown key 'levl'. Did you mean 'level'?",
    ]


def test_wrong_types_are_said_in_plain_words() -> None:
    said = told(
        {"timezone": "UTC", "sources": 3, "rules": {}, "include": 1.5, "company": ["x"], "logging": "debug", "kpis": {"a": [1]}}
    )
    assert [text.partition(". ")[0] for text in said] == [
        "company: company must be a text: put it in quotes",
        "sources: sources must be a mapping of keys to values",
        "kpis.a: kpis.a must be a mapping of keys to values",
        "rules: rules must be a list",
        "include: include must be a list",
        "logging: logging must be a mapping of keys to values",
    ]


def test_values_are_never_part_of_a_type_error() -> None:
    assert not any("hunter2" in text for text in told({"timezone": "UTC", "fiscal_year": "hunter2", "week_start": "hunter2"}))


def test_raise_errors_raises_nothing_one_or_all() -> None:
    raise_errors([])
    one, two = ConfigError("one", where="b.yml:2"), ConfigError("two", where="a.yml:10")
    with pytest.raises(ConfigError) as caught:
        raise_errors([one])
    assert caught.value is one
    with pytest.raises(ConfigErrors) as both:
        raise_errors([one, two])
    assert str(both.value) == "a.yml:10: two\nb.yml:2: one"
    assert list(each_error(both.value)) == [two, one]
    assert list(each_error(one)) == [one]


def test_a_flood_of_mistakes_is_cut_to_a_screenful() -> None:
    flood = ConfigErrors([ConfigError(f"mistake {number}") for number in range(500)])
    assert len(str(flood).splitlines()) == 41
    assert str(flood).endswith("... and 460 more")
    assert len(flood.errors) == 500


def test_a_list_whose_parts_are_wrong_is_not_said_to_be_empty() -> None:
    route = {"match": {}, "to": ["team"], "escalate": [{"after": "soon", "to": [3.5, None]}]}
    lines = told({"timezone": "UTC", "routes": [route]})
    assert not [line for line in lines if "must not be empty" in line]
    assert any("to must not be empty" in line for line in told({"timezone": "UTC", "routes": [{"match": {}, "to": []}]}))
