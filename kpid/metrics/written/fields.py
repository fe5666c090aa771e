"""Custom fields of a CRM, as configured: columns of their tables with a type, and dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy.sql.expression import FromClause

from kpid.config.definitions import FieldText
from kpid.config.load import Loaded
from kpid.config.problems import near_miss
from kpid.errors import ConfigError
from kpid.metrics.dialects import JsonText
from kpid.metrics.dimensions import Dimension, dimension_of
from kpid.metrics.written.typed import Field, key_problem, kind_of
from kpid.plugin.casts import text_of_any
from kpid.plugin.entities import ENTITIES
from kpid.plugin.kpi import Expression

_PREFIX = "extra."
_REFERENCES = {"users": "owner_id", "activities": "activity_id"}
_BUILT_IN = ("owner", "account", "pipeline", "stage", "team", "region", "segment", "industry", "size_band", "country", "source")


@dataclass(frozen=True)
class CustomDimension:
    """A dimension of the configuration: the rows' own, or of the row of another table that they refer to."""

    name: str
    field: Field
    through: tuple[str, ...]
    other: FromClause
    """The field's table, under the name that it is joined by."""

    def __call__(self, entity: FromClause) -> Dimension | None:
        """The dimension for an entity; None if its rows have no such field."""
        if self._is_own(entity, "extra" if self.field.key is not None else self.field.column):
            return Dimension(self.name, self._value(entity))
        for reference in self.through:
            table, _, column = reference.rpartition(".")
            if column in entity.c and (not table or _is_of(ENTITIES[table], entity, column)):
                return self._looked_up(entity.c[column])
        return self._looked_up(entity.c["id"]) if self._is_own(entity, "id") else None

    def _is_own(self, entity: FromClause, column: str) -> bool:
        return column in entity.c and _is_of(ENTITIES[self.field.table], entity, column)

    def _looked_up(self, reference: Expression) -> Dimension:
        join = (self.other, self.other.c.id == reference)
        return Dimension(self.name, self._value(self.other), (join,), depends_on=self.field.table)

    def _value(self, table: FromClause) -> Expression:
        if self.field.key is None:
            return text_of_any(table.c[self.field.column])
        return JsonText(table.c["extra"], self.field.key)


def _is_of(table: FromClause, entity: FromClause, column: str) -> bool:
    """Whether a column of the entity is that of a table, however often it was selected in between."""
    return table.c[column] in entity.c[column].base_columns


@dataclass(frozen=True)
class CustomFields:
    """All configured fields: by table and name, and the dimensions by name."""

    columns: Mapping[str, Mapping[str, Field]] = field(default_factory=dict)
    dimensions: Mapping[str, CustomDimension] = field(default_factory=dict)


def custom_fields(loaded: Loaded) -> tuple[CustomFields, list[ConfigError]]:
    """What ``fields:`` says, and the mistakes in it."""
    columns: dict[str, dict[str, Field]] = {}
    dimensions: dict[str, CustomDimension] = {}
    errors: list[ConfigError] = []
    for name, text in loaded.config.fields.items():
        problems = list(_problems(name, text, loaded))
        found = None if problems else _field(name, text)
        if found is not None:
            columns.setdefault(found.table, {})[found.name] = found
            called = found.name if text.dimension is True else text.dimension
            if called:
                problems = list(_dimension_problems(name, str(called), dimensions, loaded))
                dimensions.setdefault(str(called), _dimension(str(called), found, text))
        errors += problems
    return CustomFields(columns, dimensions), errors


def _field(name: str, text: FieldText) -> Field:
    table, _, own = name.partition(".")
    if text.from_.startswith(_PREFIX):
        return Field(table, own, text.type, key=text.from_.removeprefix(_PREFIX))
    return Field(table, own, kind_of(ENTITIES[table].c[text.from_]), column=text.from_)


def _dimension(name: str, found: Field, text: FieldText) -> CustomDimension:
    through = text.through or (_REFERENCES.get(found.table, f"{found.table.removesuffix('s')}_id"),)
    return CustomDimension(name, found, through, ENTITIES[found.table].alias(f"dim_{name}"))


def _problems(name: str, text: FieldText, loaded: Loaded) -> Iterator[ConfigError]:
    table, _, own = name.partition(".")
    path = ("fields", name)
    if table not in ENTITIES:
        hint = near_miss(table, ENTITIES, what="Tables")
        yield ConfigError(f"fields: there is no table {table!r}", where=loaded.place(*path), hint=hint)
        return
    columns = ENTITIES[table].c
    if own in columns or own == "as_of":
        hint = "Give the field another name"
        yield ConfigError(f"fields: {table} has a column {own!r} of its own", where=loaded.place(*path), hint=hint)
    elif text.from_.startswith(_PREFIX):
        if problem := key_problem(text.from_.removeprefix(_PREFIX)):
            yield ConfigError(f"fields: {name}: {problem}", where=loaded.place(*path, "from"), hint="Write extra.NAME")
    elif text.from_ not in columns:
        hint = f"Custom fields are written {_PREFIX}{text.from_}; {near_miss(text.from_, columns.keys(), what='columns are')}"
        yield ConfigError(f"fields: {table} has no column {text.from_!r}", where=loaded.place(*path, "from"), hint=hint)
    known = {column for one in ENTITIES.values() for column in one.c.keys()}  # noqa: SIM118 - columns, not their names
    for number, column in enumerate(text.through):
        of, _, name_alone = column.rpartition(".")
        there = known if not of else ENTITIES[of].c.keys() if of in ENTITIES else ()
        if name_alone not in there:
            hint = near_miss(name_alone, there or known, what="Columns")
            yield ConfigError(
                f"fields: no table has a column {column!r}", where=loaded.place(*path, "through", number), hint=hint
            )


def _dimension_problems(
    name: str, called: str, dimensions: Mapping[str, CustomDimension], loaded: Loaded
) -> Iterator[ConfigError]:
    where = loaded.place("fields", name, "dimension")
    hint = "Give it another name: dimension: NAME"
    if called in dimensions:
        other = dimensions[called].field
        yield ConfigError(f"fields: {other.table}.{other.name} is the dimension {called!r} already", where=where, hint=hint)
    elif called in _BUILT_IN or any(dimension_of(table, called) is not None for table in ENTITIES.values()):
        yield ConfigError(f"fields: there is a dimension or column {called!r} already", where=where, hint=hint)
    elif not called.isidentifier() or not called.isascii():
        yield ConfigError(f"fields: {called!r} cannot be the name of a dimension", where=where, hint="Use letters, digits and _")
