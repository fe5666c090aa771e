"""The pages as HTML. Pure: everything that is not ours is escaped, nothing is loaded, no script runs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from kpid.web.wire import Response

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.3rem}li{margin:.2rem 0;overflow-wrap:anywhere}label{display:block;margin:.8rem 0}"
    "input,select,button{font:inherit;padding:.4rem;box-sizing:border-box}input{width:100%}"
    "button{padding:.6rem 1.2rem;margin-top:.8rem}small{color:#555}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
"""Nothing but our own style; forms go back to where they came from."""
VERBS = {
    "ack": ("Acknowledge", "You take these alerts up: they are not repeated, and nobody else is called. A worse level is told."),
    "snooze": ("Snooze", "Nobody hears of these alerts until then; if they still fire then, they are told again."),
    "silence": ("Silence", "Nothing is said of the rules of these alerts until then. They are judged all the same."),
}
_UNTIL = {
    "ack": (("7d", "7 days"), ("1d", "1 day"), ("3d", "3 days"), ("next", "the next evaluation")),
    "snooze": (("1d", "1 day"), ("4h", "4 hours"), ("3d", "3 days"), ("7d", "7 days"), ("next", "the next evaluation")),
    "silence": (("8h", "8 hours"), ("1d", "1 day"), ("3d", "3 days"), ("7d", "7 days")),
}


def offer_page(verb: str, who: str, lines: Sequence[str], more: int, *, standing: bool) -> Response:
    """What may be done, to what, and the button that does it. Looking at it does nothing: mail programs do look.

    Args:
        verb: ``ack``, ``snooze`` or ``silence``.
        who: whom the link was made for; empty: whoever presses says who he is.
        lines: the alerts.
        more: how many more there are.
        standing: whether any of them is not over.
    """
    title, about = VERBS[verb]
    items = "".join(f"<li>{escape(line)}</li>" for line in lines) + (f"<li>and {more:,} more</li>" if more else "")
    form = _form(verb, who) if standing or verb == "silence" else "<p>All of it is over: there is nothing to do.</p>"
    return page(title, f"<ul>{items}</ul><p>{about}</p>{form}")


def _form(verb: str, who: str) -> str:
    choices = "".join(f'<option value="{value}">{text}</option>' for value, text in _UNTIL[verb])
    name = "" if who else '<label>Your name <input name="who" maxlength="200" required autocomplete="name"></label>'
    needed, word = (" required", "Why") if verb == "silence" else ("", "Comment")
    signed = f"<p><small>In the name of {escape(who)}.</small></p>" if who else ""
    return (
        f'<form method="post"><input type="hidden" name="do" value="{verb}">{name}'
        f'<label>Until <select name="until">{choices}</select></label>'
        f'<label>{word} <input name="comment" maxlength="1000"{needed}></label>'
        f"<button>{VERBS[verb][0]}</button></form>{signed}"
    )


def done_page(text: str) -> Response:
    """What was done."""
    return page("Done", f"<p>{escape(text)}</p><p>You may close this page.</p>")


def refusal_page(status: int, text: str, hint: str = "") -> Response:
    """Why there is no page."""
    return page("Not possible", f"<p>{escape(text)}</p>{f'<p><small>{escape(hint)}</small></p>' if hint else ''}", status)


def page(title: str, body: str, status: int = 200) -> Response:
    """A whole page; ``title`` and ``body`` are HTML."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>kpid: {title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>"
    )
    extra = (("Content-Security-Policy", POLICY), *((("Allow", "GET, POST"),) if status == 405 else ()))
    return Response(status, html.encode(), headers=extra)
