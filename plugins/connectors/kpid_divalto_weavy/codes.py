"""What the codes of a project mean: pick lists, steps of deals, and the states that the configuration gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from kpid.plugin import SchemaError
from kpid_divalto_weavy.endpoints import Weavy
from kpid_divalto_weavy.settings import STATES, WeavySettings
from kpid_divalto_weavy.tables import code_of

T = TypeVar("T", bound=str)
Meanings = Literal["customer_types", "ticket_states", "activity_types", "activity_states", "order_states", "frequencies"]
"""Settings that say what codes of pick lists stand for."""

_USUAL: Mapping[Meanings, Mapping[str, str]] = {
    "customer_types": {
        "client": "customer", "suspect": "prospect",
        **{name: name for name in ("customer", "prospect", "former", "partner", "competitor", "internal")},
    },
    "activity_types": {
        "appel": "call", "appel téléphonique": "call", "rendez-vous": "meeting", "rdv": "meeting", "visite": "meeting",
        "réunion": "meeting", "e-mail": "email", "courriel": "email", "tâche": "task",
        **{name: name for name in ("call", "meeting", "email", "task", "note", "message")},
    },
    "order_states": {name: name for name in ("placed", "paid", "cancelled")},
    "frequencies": {name: name for name in ("week", "month", "quarter", "half", "year")},
}  # fmt: skip
"""What needs no setting."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A row of a pick list."""

    code: str
    label: str
    original: str
    type: str


class Codes:
    """Pick lists and steps, read when they are first needed and remembered for the length of a sync.

    Args:
        api: the project.
        settings: what codes mean.

    Attributes:
        problem: why pick lists could not be read; empty if they could, or were not needed yet.
    """

    def __init__(self, api: Weavy, settings: WeavySettings) -> None:
        self._api = api
        self._settings = settings
        self._picks: dict[str, Pick] | None = None
        self._steps: dict[str, str] | None = None
        self._wanted: frozenset[str] | None = None
        self._deal_states = _folded({**STATES, **settings.states})
        self._meanings = {of: _folded({**_USUAL.get(of, {}), **getattr(settings, of)}) for of in get_args(Meanings)}
        self._stages = _folded(settings.stages)
        self.problem = ""

    def picks(self) -> Mapping[str, Pick]:
        """All rows of pick lists by code. Without them codes stand for themselves."""
        if self._picks is None:
            table = self._settings.table_of("pipelines")
            self._picks = {}
            try:
                names = [name for name in ("label", "originalCode", "dataType") if name in self._api.fields(table)]
                for batch in self._api.read(table, names):
                    for row in batch.records:
                        code = str(row[code_of(table)])
                        label, original, type_ = (str(row.get(name) or "") for name in ("label", "originalCode", "dataType"))
                        self._picks[code] = Pick(code, label or code, original, type_)
            except SchemaError as error:
                self.problem = f"codes are shown instead of labels: {error.what}"
        return self._picks

    def steps(self) -> Mapping[str, str]:
        """Labels of the steps of deals by code."""
        if self._steps is None:
            table = self._settings.table_of("stages")
            names = ["label"] if "label" in self._api.fields(table) else []
            self._steps = {
                str(row[code_of(table)]): str(row.get("label") or "")
                for batch in self._api.read(table, names)
                for row in batch.records
            }
        return self._steps

    def label(self, code: str | None) -> str | None:
        """The label of a code; the code itself if it has none."""
        if code is None:
            return None
        return self.picks()[code].label if code in self.picks() else code

    def deal_state(self, status: str | None, step: str | None) -> str | None:
        """Open, won or lost; None if the configuration knows neither the status nor the step."""
        if step is not None and self._stages:
            own = self._stages.get(step.casefold()) or self._stages.get(self.steps().get(step, "").casefold())
            if own:
                return own
        return self._meaning(self._deal_states, status)

    def stage_state(self, step: str, label: str | None) -> str | None:
        """What the configuration says of a step."""
        return self._stages.get(step.casefold()) or self._stages.get((label or "").casefold())

    def meaning(self, of: Meanings, code: str | None) -> str | None:
        """What a code stands for, by the setting of this name; None if it does not say."""
        return self._meaning(self._meanings[of], code)

    def deal_types(self) -> Sequence[Pick]:
        """The types of deals: kpid's pipelines."""
        wanted = self._settings.pipeline_type.casefold()
        return [pick for pick in self.picks().values() if pick.type.casefold() == wanted]

    def wanted(self) -> frozenset[str]:
        """Codes of the types of deals to read; empty = all.

        Raises:
            SchemaError: a configured one is not there; the hint lists what is.
        """
        if self._wanted is None:
            named = set(self._settings.pipelines)
            types = self.deal_types() if named else ()
            unknown = named - {text for pick in types for text in (pick.code, pick.label, pick.original)}
            if unknown:
                known = ", ".join(sorted(f"{pick.label} ({pick.code})" for pick in types))
                raise SchemaError(
                    f"the project has no type of deals {', '.join(sorted(unknown))}",
                    where=self._api.http.name,
                    hint=f"Correct `pipelines`; there are: {known or 'none; see pipeline_type'}",
                )
            self._wanted = frozenset(pick.code for pick in types if {pick.code, pick.label, pick.original} & named)
        return self._wanted

    def _meaning(self, meanings: Mapping[str, T], code: str | None) -> T | None:
        """By the code itself, by the code that it had first, by its label."""
        if code is None:
            return None
        if (found := meanings.get(code.casefold())) is not None:
            return found
        pick = self.picks().get(code)
        return None if pick is None else meanings.get(pick.original.casefold()) or meanings.get(pick.label.casefold())


def _folded(meanings: Mapping[str, T]) -> dict[str, T]:
    return {code.casefold(): meaning for code, meaning in meanings.items()}
