from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpid.config.schema import DRAFT, config_schema
from kpid.registry import load_plugins

ROOT = Path(__file__).parents[2]
TOYS = Path(__file__).parents[1] / "bad_config" / "plugins"
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def fits(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    """Whether a value fits a schema; knows the words of JSON Schema that ours uses, and fails on any other."""
    if isinstance(schema, bool):
        return schema
    notes = {
        "title",
        "description",
        "default",
        "$schema",
        "$defs",
        "examples",
        "format",
        "writeOnly",
        "additionalProperties",
        "then",
    }
    return all(_fits(word, schema, value, root) for word in schema if word not in notes) and _no_more(value, schema, root)


def _no_more(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    rest = schema.get("additionalProperties", True)
    if not isinstance(value, dict):
        return True
    return all(fits(item, rest, root) for key, item in value.items() if key not in schema.get("properties", {}))


def _fits(word: str, schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    wanted = schema[word]
    if word == "$ref":
        return fits(value, root["$defs"][wanted.removeprefix("#/$defs/")], root)
    if word == "type":
        return isinstance(value, TYPES[wanted]) and not (isinstance(value, bool) and wanted in ("integer", "number"))
    if word in ("anyOf", "allOf"):
        return (any if word == "anyOf" else all)(fits(value, part, root) for part in wanted)
    if word == "if":
        return not fits(value, wanted, root) or fits(value, schema["then"], root)
    if word == "properties":
        return not isinstance(value, dict) or all(fits(value[key], part, root) for key, part in wanted.items() if key in value)
    if word == "propertyNames":
        return not isinstance(value, dict) or all(fits(key, wanted, root) for key in value)
    if word == "patternProperties":
        return all(fits(value[key], part, root) for pattern, part in wanted.items() for key in value if re.search(pattern, key))
    if word == "items":
        return not isinstance(value, list) or all(fits(item, wanted, root) for item in value)
    simple = {
        "required": lambda: not isinstance(value, dict) or set(wanted) <= set(value),
        "const": lambda: value == wanted,
        "enum": lambda: value in wanted,
        "pattern": lambda: not isinstance(value, str) or re.search(wanted, value) is not None,
        "minimum": lambda: not isinstance(value, int) or value >= wanted,
        "maximum": lambda: not isinstance(value, int) or value <= wanted,
        "exclusiveMinimum": lambda: not isinstance(value, int) or value > wanted,
        "exclusiveMaximum": lambda: not isinstance(value, int) or value < wanted,
        "minLength": lambda: not isinstance(value, str) or len(value) >= wanted,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= wanted,
        "minItems": lambda: not isinstance(value, list) or len(value) >= wanted,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= wanted,
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= wanted,
        "maxProperties": lambda: not isinstance(value, dict) or len(value) <= wanted,
    }
    return simple[word]()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config_schema(load_plugins(plugins_dir=TOYS))


GOOD = """
timezone: Europe/Berlin
sources:
  crm: {connector: toy, token: abc, every: 15m, max_age: 36h, limit: 5}
receivers:
  team: {notifier: box, to: [a@example.com], on_unknown: hold}
kpis:
  toy_rate: {target: 25%}
  toy_tickets: {target: 12, min_sample: 3}
rules:
  - {name: low, kpi: toy_rate, period: month, by: owner, warn: "< 50%", for: 2x, to: [team], no_data: {do: fire},
     where: {region: [EMEA]}}
reports:
  weekly: {report: toy_report, every: mon 07:30, to: team}
logging: {level: debug}
"""


def test_schema_names_its_draft(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DRAFT
    assert "folder" not in schema["properties"]


def test_good_configuration_fits(schema: dict[str, Any]) -> None:
    assert fits(yaml.safe_load(GOOD), schema, schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timezone: Europe/Berlin", "company: Example"),
        ("timezone", "timezon"),
        ("connector: toy", "connector: toi"),
        ("limit: 5", "limt: 5"),
        ("limit: 5", "limit: many"),
        ("limit: 5", "limit: 0"),
        ("token: abc, ", ""),
        ("max_age: 36h", "max_age: soon"),
        ("on_unknown: hold", "on_unknown: wait"),
        ("for: 2x", "for: twice"),
        ("for: 2x", "fro: 2x"),
        ("to: [team]", "to: {team: 1}"),
        ("target: 25%", "target: a lot"),
        ("do: fire", "do: shout"),
    ],
)
def test_mistakes_do_not_fit(schema: dict[str, Any], old: str, new: str) -> None:
    assert not fits(yaml.safe_load(GOOD.replace(old, new, 1)), schema, schema)


def test_references_fit_where_numbers_do(schema: dict[str, Any]) -> None:
    assert fits(yaml.safe_load(GOOD.replace("limit: 5", 'limit: "${env:LIMIT}"')), schema, schema)


def test_included_files_fit_without_a_timezone(schema: dict[str, Any]) -> None:
    included = {"rules": yaml.safe_load(GOOD)["rules"]}
    assert fits(included, schema, schema)
    assert not fits({**included, "company": "Example"}, schema, schema)


def test_settings_of_a_plugin_carry_their_help(schema: dict[str, Any]) -> None:
    branches = schema["$defs"]["Source"]["allOf"]
    toy = next(branch["then"] for branch in branches if branch["if"]["properties"]["connector"]["const"] == "toy")
    assert toy["properties"]["limit"]["description"] == "How many rows a page has."
    assert toy["properties"]["connector"]["description"] == "A toy CRM"
    assert toy["required"] == ["connector", "token"]


def test_every_reference_inside_the_schema_leads_somewhere(schema: dict[str, Any]) -> None:
    def targets(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(targets(item) for item in node.values()))
        return set().union(*(targets(item) for item in node)) if isinstance(node, list) else set()

    assert {target.removeprefix("#/$defs/") for target in targets(schema)} <= set(schema["$defs"])
