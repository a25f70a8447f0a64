"""Stored responses: what comes after `/v1/responses` made one (wire-formats 8.13).

A response is kept unless `store` is false: it can be read, streamed anew from an event on, listed
by its input, gone on from, and forgotten. One with `background` is queued at first, in progress at
the first look, and completed at the second: nobody has to wait for a clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from relayd.demo import responses
from relayd.demo.answer import Reply
from relayd.demo.ask import Ask, Document, dicts, last_of, string, text_of, weigh
from relayd.demo.refusal import Refusal
from relayd.demo.script import Script
from relayd.demo.shelf import Kept, Shelf
from relayd.demo.task import Task, Work, usage_of

LOOKS_UNTIL_DONE: Final = 2
MOST_ITEMS: Final = 100
LONGEST_MEMORY: Final = 100


def gone_on(document: Document, ask: Ask, shelf: Shelf, owner: str) -> Ask:
    """The ask, with what the response before it knew; a Refusal when there is no such response."""
    before = document.get("previous_response_id")
    if before is None:
        return ask
    kept = shelf.get(owner, string(before))
    if kept is None:
        message = f"Previous response with id '{before}' not found."
        code = "previous_response_not_found"
        raise Refusal(400, message, code=code, param="previous_response_id")
    earlier: Document = kept.data[0]
    said = text_of(last_of(_items(earlier), lambda i: i.get("role") == "user").get("content"))
    tokens = ask.prompt_tokens + kept.data[2]
    text = f"{ask.text} (before that: {said[:LONGEST_MEMORY]})"
    return replace(ask, text=text, prompt_tokens=tokens)


def keep(document: Document, reply: Reply, ask: Ask, shelf: Shelf, owner: str) -> Document | None:
    """Keep a response that was made; the document that says it is queued, if it is."""
    if document.get("store") is False:
        return None
    made = responses.whole(document, reply)
    size = len(orjson.dumps(made)) + len(orjson.dumps(document))
    kept = Kept(made, (document, reply, ask.prompt_tokens), size)
    waits = made["background"] and document.get("stream") is not True
    kept.looks = 0 if waits else LOOKS_UNTIL_DONE
    if shelf.get(owner, made["id"]) is None:
        shelf.put(owner, made["id"], kept)
    return _unfinished(made, "queued") if waits else None


def _unfinished(made: Document, status: str) -> Document:
    unfinished = {**made, "status": status, "output": [], "usage": None}
    unfinished.pop("completed_at", None)
    return unfinished


def _follow(task: Task) -> Script:
    id, *tail = task.rest
    kept = task.shelf.get(task.owner, id)
    if kept is None or kept.what.get("object") != "response":
        raise Refusal(404, f"Response with id '{id}' not found.")
    work = _FOLLOWING.get((task.method, tail[0] if tail else ""))
    if work is None or len(tail) > 1:
        raise Refusal(405, f"Not allowed to {task.method} on this response.")
    return work(task, kept)


def _get(task: Task, kept: Kept) -> Script:
    if task.query.get("stream") == "true":
        return _again(task, kept)
    kept.looks += 1
    if kept.looks < LOOKS_UNTIL_DONE:
        return task.whole(_unfinished(kept.what, "in_progress"))
    return task.whole(kept.what)


def _again(task: Task, kept: Kept) -> Script:
    """The events of the response, those after `starting_after`."""
    kept.looks = LOOKS_UNTIL_DONE
    after = task.query.get("starting_after", "")
    first = int(after) + 1 if after.isdecimal() and len(after) < 9 else 0
    document, reply, _ = kept.data
    return task.stream(responses.stream(document, reply).events[first:] or [b": nothing more\n\n"])


def _delete(task: Task, kept: Kept) -> Script:
    task.shelf.drop(task.owner, kept.what["id"])
    return task.whole({"id": kept.what["id"], "object": "response", "deleted": True})


def _cancel(task: Task, kept: Kept) -> Script:
    if not kept.what["background"]:
        raise Refusal(400, "Cannot cancel a synchronous response.")
    if kept.looks < LOOKS_UNTIL_DONE:
        kept.what = _unfinished(kept.what, "cancelled")
        kept.looks = LOOKS_UNTIL_DONE
    return task.whole(kept.what)


def _input_items(task: Task, kept: Kept) -> Script:
    items = _items(kept.data[0])
    named = [_named(item, f"{kept.what['id'][5:]}{n}") for n, item in enumerate(items)]
    if task.query.get("order", "desc") == "desc":
        named.reverse()
    ids = [item["id"] for item in named]
    start = ids.index(task.query["after"]) + 1 if task.query.get("after") in ids else 0
    limit = task.query.get("limit", "20")
    size = min(int(limit), MOST_ITEMS) if limit.isdecimal() and len(limit) < 5 else 20
    return task.whole(listed(named[start : start + size], more=start + size < len(named)))


def _items(document: Document) -> list[Document]:
    asked = document.get("input")
    if isinstance(asked, str):
        return [{"role": "user", "content": [{"type": "input_text", "text": asked}]}]
    return dicts(asked)


def _named(item: Document, seed: str) -> Document:
    kind = string(item.get("type")) or "message"
    named = {"id": f"msg_{seed}", "type": kind, "status": "completed", **item}
    if isinstance(named.get("content"), str):
        named["content"] = [{"type": "input_text", "text": named["content"]}]
    return named


def listed(data: list[Document], *, more: bool = False) -> Document:
    """A page of a list, as OpenAI words it."""
    first = data[0]["id"] if data else None
    last = data[-1]["id"] if data else None
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


def _compact(task: Task) -> Script:
    """The user's messages as they were, and everything else sealed into one item."""
    items = _items(task.asked)
    before = task.asked.get("previous_response_id")
    if before is not None:
        kept = task.shelf.get(task.owner, string(before))
        if kept is None:
            code, param = "previous_response_not_found", "previous_response_id"
            message = f"Previous response with id '{before}' not found."
            raise Refusal(400, message, code=code, param=param)
        items = [*_items(kept.data[0]), *items]
    if not items:
        raise Refusal(400, "Missing required parameter: 'input'.", param="input")
    users = [_named(i, f"{task.seed}{n}") for n, i in enumerate(items) if i.get("role") == "user"]
    sealed = {"type": "compaction", "id": f"cmp_{task.seed}", "encrypted_content": task.seed}
    tokens = weigh(items)
    usage: dict[str, Any] = {
        "input_tokens": tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens + 10,
    }
    shape = {"id": f"resp_{task.seed}", "object": "response.compaction"}
    made = {**shape, "created_at": int(task.moment), "output": [*users, sealed]}
    return task.whole(made | usage_of(task, usage))


_FOLLOWING: Final = {
    ("GET", ""): _get,
    ("DELETE", ""): _delete,
    ("POST", "cancel"): _cancel,
    ("GET", "input_items"): _input_items,
}
COMPACT: Final[Work] = _compact
FOLLOW: Final[Work] = _follow
