"""JSON Schema of a configuration, for editors: kpid's own keys, and those of every loaded connector and notifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from kpid.config.load import INCLUDABLE
from kpid.config.model import Config
from kpid.plugin.connector import ConnectorInfo
from kpid.plugin.notifier import Notifier
from kpid.plugin.settings import Settings

Schema: TypeAlias = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{(env|file|cred):[^}]+\}"}
_SCALARS = ("integer", "number", "boolean")


class HasPlugins(Protocol):
    """The part of the registry that a schema needs."""

    @property
    def connectors(self) -> Mapping[str, ConnectorInfo]:
        """Connectors by name."""

    @property
    def notifiers(self) -> Mapping[str, type[Notifier[Any]]]:
        """Notifiers by name."""


def config_schema(plugins: HasPlugins) -> Schema:
    """The schema of ``kpid.yml`` and, since only a main file must have a ``timezone``, of the files it includes.

    The settings below a source depend on its ``connector:``, those below a receiver on its ``notifier:``.
    """
    schema = Config.model_json_schema(mode="validation")
    definitions: Schema = schema["$defs"]
    for hidden in ("folder", "file"):
        del schema["properties"][hidden]
    connectors = {name: (info.connector.Settings, info.summary) for name, info in plugins.connectors.items()}
    notifiers = {name: (kind.Settings, _first_line(kind)) for name, kind in plugins.notifiers.items()}
    definitions["Source"] = _by_plugin("connector", definitions["Source"], connectors, definitions)
    definitions["Receiver"] = _by_plugin("notifier", definitions["Receiver"], notifiers, definitions)
    required = schema.pop("required")
    schema["anyOf"] = [{"required": required}, {"propertyNames": {"enum": list(INCLUDABLE)}}]
    filled: Schema = _with_references(schema)
    return {"$schema": DRAFT, "title": "kpid configuration", **{key: value for key, value in filled.items() if key != "title"}}


def _by_plugin(key: str, generic: Schema, kinds: Mapping[str, tuple[type[Settings], str]], definitions: Schema) -> Schema:
    """A schema that asks for the settings of the plugin that ``key`` names."""
    own = {name: value for name, value in generic["properties"].items() if name not in ("options", key)}
    choices = []
    for name, (settings, summary) in sorted(kinds.items()):
        part = settings.model_json_schema(mode="validation", ref_template=f"#/$defs/{key}_{name}_{{model}}")
        for model, definition in part.get("$defs", {}).items():
            definitions[f"{key}_{name}_{model}"] = definition
        named = {key: {"const": name, "description": summary}}
        choices.append(
            {
                "if": {"properties": {key: {"const": name}}, "required": [key]},
                "then": {
                    "properties": {**named, **own, **part.get("properties", {})},
                    "required": [key, *part.get("required", [])],
                    "additionalProperties": part.get("additionalProperties", False),
                },
            }
        )
    names: Schema = {**generic["properties"][key], "enum": sorted(kinds)}
    return {
        "type": "object",
        "description": generic.get("description", ""),
        "properties": {key: names},
        "required": [key],
        "allOf": choices,
    }


def _first_line(kind: type[object]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def _with_references(node: Any) -> Any:
    """The schema with ``${env:PORT}`` allowed wherever a number or a truth value is."""
    if isinstance(node, list):
        return [_with_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _with_references(value) for key, value in node.items()}
    if node.get("type") in _SCALARS and "const" not in node:
        notes = {key: inner.pop(key) for key in ("description", "default", "title") if key in inner}
        return {**notes, "anyOf": [inner, _REFERENCE]}
    return inner
