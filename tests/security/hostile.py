"""Text as a CRM may hold it by malice or accident, and how to look at a page that was made of it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import strategies as st

HTML = {
    "script": "<script>alert(1)</script>",
    "image": '<img src=x onerror="alert(1)">',
    "attribute": '" onmouseover="alert(1)" x="',
    "single-quote": "' onfocus='alert(1)' autofocus='",
    "address": "javascript:alert(1)",
    "data-address": "data:text/html,<script>alert(1)</script>",
    "style-end": "</style><style>*{display:none}</style>",
    "title-end": "</title></table></td><h1>gone</h1>",
    "comment": "--><!--[if mso]><p>",
    "template": "{{ 7 * 7 }}{{ notice.__class__.__mro__ }}",
    "template-block": "{% raw %}{% for x in range(10**9) %}x{% endfor %}",
    "direction": "Ada \u202egnp.exe\u202c \u2066x\u2069",
    "control": "a\x00b\x1b[31m\x07\x85c\r\nBcc: evil@example.com",
    "long": "x" * 1_000_000,
    "surrogate": "Ada \ud800 Example \udfff",
    "entities": "&lt;script&gt;&#60;b&#62;&amp;",
    "invisible": "\u200b\ufeff\u2060",
}
"""Attacks on a page, by name."""

SLACK = {
    "channel": "<!channel> now",
    "here": "<!here>",
    "everyone": "<!everyone|everyone>",
    "user": "<@U0123456789>",
    "group": "<!subteam^S0123456789|sales>",
    "channel-link": "<#C0123456789|general>",
    "link": "<https://evil.example.com|Win rate>",
    "mailto": "<mailto:evil@example.com|Ada>",
    "date": "<!date^1392734382^Posted {date_num}^https://evil.example.com|x>",
    "escaped": "&lt;!channel&gt;",
    "half": "<https://evil.example.com",
    "nested": "<<!channel>|x>",
    "markdown": "*bold* _it_ ~s~ `code` ```x``` > quote :tada:",
    "bare-address": "https://evil.example.com/?q=1",
}
"""Texts that Slack would act on, by name."""

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=300) | st.sampled_from(
    [*HTML.values(), *SLACK.values()]
)
"""Any text at all: control characters, lone surrogates, a million letters, and the attacks above."""


class Shape(HTMLParser):
    """What a page is built of: tags with the names of their attributes; where its links lead; its words."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.links: set[str] = set()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, tuple(sorted(name for name, _ in attrs))))
        self.links |= {value or "" for name, value in attrs if name in {"href", "src", "background"}}
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.words.append(data)
