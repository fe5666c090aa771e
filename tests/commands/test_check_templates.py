"""What is rendered is rendered once before anybody waits for it."""

from __future__ import annotations

import pytest

from kpid.commands.check_templates import refuse_all_mistakes, template_findings
from kpid.errors import KpidError
from tests.commands.handled import CONFIG, opened


@pytest.mark.parametrize("summary", ["{{ nothing_of_this_name }}", "{{ value | no_such_filter }}", "{% if %}", "{{ segment"])
def test_sentence_that_does_not_render_is_refused_with_its_place(tmp_path, summary):
    configuration = CONFIG.replace("labels: {team: sales}}", f"labels: {{team: sales}},\n     summary: '{summary}'}}")
    assert configuration != CONFIG
    with opened(tmp_path, configuration) as app:
        with pytest.raises(KpidError, match="summary") as caught:
            refuse_all_mistakes(app)
        errors = getattr(caught.value, "errors", (caught.value,))
        assert any(str(one.where).endswith("kpid.yml:7") for one in errors), [one.where for one in errors]


def test_sentence_that_renders_passes(tmp_path):
    configuration = CONFIG.replace("labels: {team: sales}}", "labels: {team: sales},\n     summary: '{{ segment }} is low'}")
    with opened(tmp_path, configuration) as app:
        refuse_all_mistakes(app)
        found = template_findings(app.loaded, app.plugins, app.renderer)
        assert all(one.ok for one in found)
        assert any("few-wins" in one.subject for one in found)


def test_broken_template_of_a_folder_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "alert.txt.j2").write_text("{{ nothing_of_this_name.at_all }}", encoding="utf-8")
    with opened(tmp_path, f"templates_dir: mine\n{CONFIG}") as app, pytest.raises(KpidError, match=r"alert\.txt\.j2"):
        refuse_all_mistakes(app)
