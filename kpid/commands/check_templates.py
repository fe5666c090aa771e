"""Whether everything that is rendered renders, before anybody waits for it: templates, and the sentences of rules."""

from __future__ import annotations

from kpid.app import App
from kpid.commands.check import refuse_mistakes
from kpid.config.load import Loaded
from kpid.model import Finding
from kpid.registry import Plugins
from kpid.reporting.render import Renderer


def template_findings(loaded: Loaded, plugins: Plugins, renderer: Renderer, *, built_in: bool = True) -> list[Finding]:
    """Fill in every template, and every rule's own sentence, with a sample.

    Args:
        loaded: the configuration.
        plugins: what is installed.
        renderer: of this configuration.
        built_in: look at the templates that come with kpid, too; they are looked at anyway where some are replaced.
    """
    findings = renderer.check() if built_in or loaded.config.templates_dir is not None else []
    for number, rule in enumerate(loaded.config.rules):
        place = loaded.place("rules", number, "summary")
        findings.extend(renderer.check_rule(rule, plugins.kpis.get(rule.kpi), place))
    return findings


def refuse_all_mistakes(app: App) -> None:
    """Before a long run: refuse a configuration with mistakes, in what it renders, too.

    Raises:
        ConfigError: all mistakes at once.
    """

    def check() -> list[Finding]:
        return template_findings(app.loaded, app.plugins, app.renderer, built_in=False)

    refuse_mistakes(app.loaded, app.plugins, check_templates=check)
