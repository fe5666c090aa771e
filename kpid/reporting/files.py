"""A report as files, for looking at it without sending it: the page, the text, the mail, the context and the pictures."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from kpid.model import Period
from kpid.plugin.mail import mime_message
from kpid.plugin.notifier import Image, Message
from kpid.reporting.context import context_to_json
from kpid.reporting.gather import ReportingSetup, gather_context
from kpid.reporting.render import RenderedReport
from kpid.store.engine import Store
from kpid.warehouse import Watermark

_SENDER = "kpid@localhost"


def render_files(
    name: str,
    setup: ReportingSetup,
    *,
    store: Store,
    watermarks: Sequence[Watermark],
    period: Period,
    now: datetime,
    out: Path,
) -> list[Path]:
    """Write a report into a folder; nothing is sent and nothing is remembered.

    Returns:
        The files: ``.html`` (pictures inside), ``.txt``, ``.eml``, ``.json`` (the context) and a ``.png`` per picture.

    Raises:
        KpidError: there is no such report, or a template is faulty.
    """
    with store.read() as conn:
        context = gather_context(name, setup, conn, period=period, watermarks=watermarks, now=now)
    rendered = setup.renderer.report(context)
    stem = re.sub(r"[^\w.-]+", "-", f"{name}-{period.label}")
    contents = {
        f"{stem}.html": _page(rendered).encode("utf-8"),
        f"{stem}.txt": f"Subject: {rendered.subject}\n\n{rendered.text}".encode(),
        f"{stem}.eml": mime_message(_message(name, stem, rendered, now), sender=_SENDER, recipient=""),
        f"{stem}.json": context_to_json(context).encode("utf-8"),
    } | {f"{stem}-{image.name}.png": image.png for image in rendered.images}
    return _written(out, contents)


def _written(out: Path, contents: Mapping[str, bytes]) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for file_name, body in contents.items():
        path = out / file_name
        path.write_bytes(body)
        paths.append(path)
    return paths


def _message(name: str, stem: str, rendered: RenderedReport, now: datetime) -> Message:
    return Message(
        key=hashlib.sha256(f"{stem} {now.isoformat()}".encode()).hexdigest(),
        kind="report",
        title=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        created_at=now,
        sections=rendered.sections,
        facts=rendered.facts,
        images=rendered.images,
        list_id=name,
    )


def _page(rendered: RenderedReport) -> str:
    """The mail's page with its pictures inside, for a browser."""
    images = {image.name: image for image in rendered.images}
    return re.sub(r"cid:([\w.-]+)", lambda found: _inside(images[found[1]]) if found[1] in images else found[0], rendered.html)


def _inside(image: Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(image.png).decode('ascii')}"
