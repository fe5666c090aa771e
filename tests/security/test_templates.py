"""What a template may not do, whoever wrote it; and values that try to be templates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kpid.errors import KpidError
from kpid.reporting.samples import sample_contexts, sample_notices
from tests.reporting.weeks import CALENDAR, renderer

CONTEXT = sample_contexts("weekly_sales", CALENDAR)[0]
NOTICE = sample_notices(CALENDAR)[0]
ESCAPES = {
    "class": "{{ ''.__class__.__mro__ }}",
    "subclasses": "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "attr-filter": "{{ ''|attr('__class__') }}",
    "attr-twice": "{{ ''|attr('__cla' ~ 'ss__')|attr('__mro__') }}",
    "item": "{{ ''['__class__'] }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(context) }}",
    "format-map": "{{ '{x.__class__.__mro__}'.format_map({'x': context}) }}",
    "format-indirect": "{{ ['{0.__class__.__mro__}'.format]|map('string')|list }}{% set f = '{0.__class__}'.format %}{{ f(r) }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "joiner": "{{ joiner.__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "self": "{{ self.__init__.__globals__ }}",
    "self-private": "{{ self._TemplateReference__context }}",
    "filter-function": "{{ context.kpis.__class__.__base__ }}",
    "code": "{{ r.items.__func__.__code__ }}",
    "generator": "{{ (x for x in []).gi_frame }}",
    "import": "{% import 'os' as os %}{{ os.system('id') }}",
    "include": "{% include '../../../etc/passwd' %}",
    "include-absolute": "{% include '/etc/passwd' %}",
    "change-a-list": "{{ r['rows'].append(1) }}",
    "change-a-dict": "{{ r.update({'headline': 'x'}) }}",
    "change-the-context": "{{ context.__setattr__('title', 'x') }}",
    "pop": "{{ r.pop('headline') }}",
    "range": "{% for x in range(999999999) %}{% endfor %}",
    "unknown-name": "{{ settings.password }}",
    "environment": "{{ environ.PATH }}",
    "config": "{{ config }}",
}
"""Attempts to leave the sandbox, to change what others read, or to reach files; by name."""


@pytest.mark.parametrize("name", ESCAPES)
def test_template_cannot_leave_its_sandbox(tmp_path: Path, name: str) -> None:
    (tmp_path / "weekly_sales.txt.j2").write_text(ESCAPES[name])
    said = _text_or_error(tmp_path)
    for leak in (
        "<class",
        "<function",
        "<built-in",
        "uid=",
        "root:x",
        "__globals__': ",
        "generator object",
        "kpid.reporting",
        "object at",
    ):
        assert leak not in said


def _text_or_error(folder: Path) -> str:
    """What the template makes; or the error, which must name it."""
    try:
        return renderer(folder).report(CONTEXT).text
    except KpidError as error:
        return f"{error.where}: {error.what}"


def test_template_gets_no_settings_and_no_environment(tmp_path: Path) -> None:
    (tmp_path / "alert.txt.j2").write_text("{% for name in names() %}{% endfor %}")
    with pytest.raises(KpidError, match="names"):
        renderer(tmp_path).alert(NOTICE)


@pytest.mark.parametrize("name", ESCAPES)
def test_value_that_looks_like_a_template_is_only_text(name: str) -> None:
    item = replace(NOTICE.items[0], segment=ESCAPES[name][:80])
    message = renderer().alert(replace(NOTICE, items=(item,), summary=ESCAPES[name]))
    assert " ".join(item.segment.split()) in " ".join(message.text.split())
    assert "uid=" not in message.text


def test_names_outside_ascii_and_bytes_do_not_break_the_look_up(tmp_path: Path) -> None:
    message = renderer(tmp_path).alert(replace(NOTICE, rule="../../x\x00é", kpi="../x"))
    assert "../../xé" in message.text
