"""``kpid kpis``: the catalogue for readers, to list, to search, to look a definition up, and as the reference in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from kpid.commands.coverage import coverage_of, judged
from kpid.config.load import Loaded
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.metrics.availability import Availability
from kpid.plugin.kpi import EVERYWHERE, Benchmark, Kpi, Param
from kpid.registry import Plugins

ADDITIVITY = {
    "A": "adds up over time and over segments",
    "R": "a ratio of sums: numerators and denominators add up, ratios never",
    "N": "never adds up: every period and segment is computed by itself",
    "S": "a balance: adds up over segments, not over time",
    "C": "a cohort that is followed: adds up over segments of the same cohort",
}
BETTER = {"up": "higher is better", "down": "lower is better", "none": "neither direction is better by itself"}
REFERENCE = "`make reference` writes this page from the definitions; a test holds them together."
_WORD = re.compile(r"[a-z0-9]+")


def list_kpis(plugins: Plugins, search: str = "", category: str = "") -> list[dict[str, Any]]:
    """KPIs by category and id, or, searched for, those that match best first.

    Args:
        plugins: what is installed.
        search: words that must all be found in the id, the name or the texts of a KPI.
        category: only this one.

    Raises:
        KpidError: there is no such category, or nothing is found.
    """
    categories = sorted({kpi.category for kpi in plugins.kpis.values()})
    if category and category not in categories:
        raise KpidError(f"there is no category {category!r}", hint=near_miss(category, categories, what="There are"))
    wanted = [kpi for kpi in _sorted(plugins.kpis.values()) if category in {"", kpi.category}]
    words = search.lower().split()
    ranked = sorted(((_rank(kpi, words), kpi) for kpi in wanted), key=lambda pair: pair[0])
    found = [kpi for rank, kpi in ranked if rank < _NOWHERE]
    if words and not found:
        raise KpidError(f"no KPI is about {search!r}", hint=near_miss(search, plugins.kpis, what="`kpid kpis` lists all"))
    return [_line(kpi) for kpi in found]


_NOWHERE = 9


def _rank(kpi: Kpi, words: Sequence[str]) -> int:
    """How near the words are: in the id, in the name, in the texts, nowhere."""
    texts = " ".join((kpi.formula_text, kpi.why, kpi.misleads, kpi.source, kpi.category)).lower()
    places = (kpi.id.lower(), kpi.name.lower(), f"{kpi.id} {kpi.name} {texts}".lower())
    return next((rank for rank, place in enumerate(places) if all(word in place for word in words)), _NOWHERE)


def _sorted(kpis: Any) -> list[Kpi]:
    return sorted(kpis, key=lambda kpi: (kpi.category, kpi.number or 999, kpi.id))


def _line(kpi: Kpi) -> dict[str, Any]:
    return {
        "category": kpi.category,
        "id": kpi.id,
        "name": kpi.name,
        "unit": kpi.unit,
        "better": kpi.better,
        "period": kpi.period,
        "min_sample": kpi.min_sample,
        "what": kpi.formula_text or kpi.why,
    }


def show_kpi(plugins: Plugins, kpi_id: str, loaded: Loaded | None = None) -> dict[str, Any]:
    """All that is known of a KPI; with a configuration also whether its sources can feed it.

    Raises:
        KpidError: there is no such KPI.
    """
    kpi = plugins.kpis.get(kpi_id)
    if kpi is None:
        raise KpidError(f"there is no KPI {kpi_id!r}", hint=near_miss(kpi_id, plugins.kpis, what="`kpid kpis` lists"))
    state = _state(plugins, kpi, loaded)
    return {
        **_line(kpi),
        "number": kpi.number,
        "definition": kpi.formula_text,
        "parameters": {name: _parameter(param) for name, param in {**kpi.params, **EVERYWHERE}.items()},
        "dimensions": list(kpi.dimensions),
        "min_sample_by": dict(kpi.min_sample_by),
        "sample": kpi.sample_noun({}),
        "population": loaded.config.population.text if loaded else "",
        "additivity": kpi.additivity,
        "settle": kpi.settle or None,
        "benchmark": _benchmark(kpi.benchmark),
        "why": kpi.why,
        "misleads": kpi.misleads,
        "source": kpi.source,
        "requires": list(kpi.requires),
        "degrades": dict(kpi.degrades),
        "uses": sorted({use.kpi for use in kpi.definition({}).uses.values()}),
        "state": state.state if state else None,
        "state_reasons": list(state.reasons) if state else [],
    }


def _state(plugins: Plugins, kpi: Kpi, loaded: Loaded | None) -> Availability | None:
    if loaded is None:
        return None
    sources = coverage_of(loaded, plugins).sources
    return None if sources is None else judged(loaded, plugins, sources)[kpi.id]


def _parameter(param: Param) -> dict[str, Any]:
    choices = list(param.choices) if param.kind == "choice" else []
    return {"default": param.default, "choices": choices, "kind": param.kind, "help": param.help}


def _benchmark(found: Benchmark | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "text": found.text, "source": found.source, "year": found.year}


def card(shown: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A KPI for the terminal: label and text, without what there is nothing to say about."""
    yield "Definition", shown["definition"]
    yield "Counted", shown["population"]
    yield "Unit", f"{shown['unit']}, {BETTER[shown['better']]}"
    yield "Usual period", shown["period"] + (f", {shown['settle']} after its end" if shown["settle"] else "")
    least = f"at least {shown['min_sample']} " if shown["min_sample"] else ""
    fewer = "".join(f"; {number} when cut by {name}, with a warning" for name, number in shown["min_sample_by"].items())
    yield "Sample", f"{least}{shown['sample']}{fewer}" if least or shown["sample"] != "records" else ""
    for name, param in shown["parameters"].items():
        yield f"  {name}=", f"{_choices_text(param)}{': ' if param['help'] else ''}{param['help']}"
    yield "Cut by", ", ".join(shown["dimensions"])
    yield "Adds up?", ADDITIVITY[shown["additivity"]]
    yield "Made of", ", ".join(shown["uses"])
    yield "Why", shown["why"]
    yield "Misleads", shown["misleads"]
    yield "Benchmark", _benchmark_text(shown["benchmark"])
    yield "Needs", ", ".join(shown["requires"])
    for name, text in shown["degrades"].items():
        yield f"  without {name}", text
    yield "Source", shown["source"]
    if shown["state"]:
        yield "Here", "; ".join([shown["state"], *shown["state_reasons"]])


def _choices_text(param: Mapping[str, Any]) -> str:
    if not param["choices"]:
        kind = {"whole": "a whole number", "decimal": "a number", "text": "a text"}[param["kind"]]
        return f"{param['default']} ({kind})" if param["default"] else kind
    return " | ".join(param["choices"])


def _benchmark_text(found: Mapping[str, Any] | None) -> str:
    return (
        "" if found is None else f"{found['value']}: {found['text']} ({found['source']}, {found['year']}); never judged by itself"
    )


# ---- the reference
def reference(plugins: Plugins, distribution: str = "kpid") -> str:
    """The page ``plugins/kpis/README.md``: the KPIs that come with kpid, by category.

    Args:
        plugins: what is installed.
        distribution: the one whose KPIs are described; what else is installed here is no part of the page.
    """
    ours = {row.name for row in plugins.rows if row.kind == "kpi" and row.distribution == distribution}
    kpis = _sorted(kpi for kpi in plugins.kpis.values() if kpi.id in ours)
    lines = ["# The KPIs that come with kpid", "", REFERENCE, ""]
    lines += [
        f"{len(kpis)} KPIs. `kpid kpis` lists and searches them, `kpid kpis show ID` says whether your sources can feed one.",
        "",
        *(f"- Every KPI takes `{name}=` {_cell(' | '.join(param.choices))}: {param.help}" for name, param in EVERYWHERE.items()),
    ]
    groups = [(category, list(group)) for category, group in groupby(kpis, key=lambda kpi: kpi.category)]
    lines += [f"- [{category}](#{category}): {', '.join(f'`{kpi.id}`' for kpi in group)}" for category, group in groups]
    for category, group in groups:
        lines += ["", f"## {category}"]
        for kpi in group:
            lines += ["", f"### `{kpi.id}` {_cell(kpi.name)}", "", *_entry(show_kpi(plugins, kpi.id))]
    return "\n".join(lines).rstrip() + "\n"


def _entry(shown: Mapping[str, Any]) -> Iterator[str]:
    yield _cell(shown["definition"] or shown["why"])
    yield ""
    said = {"Definition", "Here", *(f"  {name}=" for name in EVERYWHERE)}
    told = [(label, text) for label, text in card(shown) if text and label not in said]
    for label, text in told:
        if label.startswith("  without "):
            yield f"  - without `{label.removeprefix('  without ')}`: {_cell(text)}"
        elif label.startswith("  "):
            yield f"- `{label.strip()}` {_cell(text)}"
        else:
            yield f"- {label.rstrip('?')}: {_cell(text)}"


def _cell(text: str) -> str:
    """A text in a line of Markdown."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
