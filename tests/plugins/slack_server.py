"""A Slack on this machine: as much of it as posting, threads, updates and looking back need."""

from __future__ import annotations

import json
from typing import Any

from kpid.testing import Answer, FakeApi, Request

CHANNEL = "C0123456789"
TOKEN = "xoxb-1234-canary"
LIMITS = {"header": 150, "section": 3000}


class FakeSlack(FakeApi):
    """One channel.

    Attributes:
        posts: by ts, what is in the channel.
        refuse: words with which the next calls of a method are refused: ``{"chat.postMessage": ["ratelimited"]}``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.posts: dict[str, dict[str, Any]] = {}
        self.refuse: dict[str, list[str]] = {}
        self.hooks: list[dict[str, Any]] = []
        for method in ("chat.postMessage", "chat.update", "auth.test"):
            self.route("POST", f"/api/{method}", self._method(method))
        for method in ("conversations.history", "conversations.replies"):
            self.route("GET", f"/api/{method}", self._method(method))
        self.route("POST", "/services/T1/B1/canary-hook", self._hook)

    def _method(self, method: str) -> Any:
        def answer(request: Request) -> Answer:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return Answer(200, {"ok": False, "error": "invalid_auth"})
            if self.refuse.get(method):
                word = self.refuse[method].pop(0)
                return Answer(429 if word == "ratelimited" else 200, {"ok": False, "error": word}, {"Retry-After": "30"})
            body = request.json() or {}
            return Answer(200, getattr(self, f"_{method.replace('.', '_')}")(request, body))

        return answer

    def _chat_postMessage(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  Slack's name
        wrong = wrong_with(body)
        if wrong:
            return {"ok": False, "error": wrong}
        if body.get("thread_ts") and body["thread_ts"] not in self.posts:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"1762000000.{len(self.posts) + 1:06}"
        self.posts[ts] = {**body, "ts": ts}
        return {"ok": True, "channel": body["channel"], "ts": ts}

    def _chat_update(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        if body["ts"] not in self.posts:
            return {"ok": False, "error": "message_not_found"}
        self.posts[body["ts"]] |= {"text": body["text"], "blocks": body["blocks"], "edited": True}
        return {"ok": True, "ts": body["ts"]}

    def _auth_test(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "team": "Example Inc.", "user": "kpid"}

    def _conversations_history(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return self._page(request, [post for post in self.posts.values() if not post.get("thread_ts")])

    def _conversations_replies(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        thread = request.arg("ts")
        return self._page(request, [post for ts, post in self.posts.items() if thread in {ts, post.get("thread_ts")}])

    def _page(self, request: Request, posts: list[dict[str, Any]]) -> dict[str, Any]:
        """Newest first, two at a time."""
        at = int(request.arg("cursor", "0"))
        found = list(reversed(posts))
        cursor = str(at + 2) if at + 2 < len(found) else ""
        return {"ok": True, "messages": found[at : at + 2], "response_metadata": {"next_cursor": cursor}}

    def _hook(self, request: Request) -> Answer:
        body = request.json()
        if self.refuse.get("hook"):
            word = self.refuse["hook"].pop(0)
            status = {"no_service": 404, "channel_is_archived": 410, "action_prohibited": 403}.get(word, 400)
            return Answer(status, word)
        self.hooks.append(body)
        return Answer(200, "ok")


def wrong_with(body: dict[str, Any]) -> str | None:
    """The word with which Slack refuses a message; None if it would not."""
    blocks = body.get("blocks", [])
    if body["channel"] != CHANNEL:
        return "channel_not_found"
    if len(blocks) > 50 or len(json.dumps(blocks, ensure_ascii=False)) > 13_000:
        return "msg_blocks_too_long"
    fits = all(_fits(block) for block in blocks) and len({id_ for block in blocks if (id_ := block.get("block_id"))}) == sum(
        "block_id" in block for block in blocks
    )
    return None if fits and _length(body.get("text", "x")) <= 40_000 else "invalid_blocks"


def _length(text: str) -> int:
    """Characters as a browser counts them."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fits(block: dict[str, Any]) -> bool:
    """Whether Slack takes a block: https://docs.slack.dev/reference/block-kit/blocks."""
    text, elements = block.get("text", {}).get("text", "x"), block.get("elements", [])
    if not 0 < _length(text) <= LIMITS.get(block["type"], 3000) or len(elements) > {"context": 10}.get(block["type"], 25):
        return False
    fields = block.get("fields", ())
    if len(fields) > 10 or not all(0 < _length(one["text"]) <= 2000 for one in fields):
        return False
    if block["type"] != "actions":
        return all(0 < _length(one["text"]) <= 3000 for one in elements)
    names = [one["action_id"] for one in elements]
    buttons = all(0 < _length(one["text"]["text"]) <= 75 and _length(one["value"]) <= 2000 for one in elements)
    return buttons and 0 < len(elements) <= 5 and len(set(names)) == len(names) and max(map(_length, names)) <= 255
