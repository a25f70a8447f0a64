"""`python -m benchmarks.fidelity.carried`: thinking continued through a client of another format.

A reply whose provider wants something back (a signature, a ciphertext) is written for a client of
each other format, whole and as a stream that the client's library gathers. It then stands in the
history of that client's next request, which goes to the same account again: every carrier must be
there, unchanged and in its order. To another account of the same provider none of it may go.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from benchmarks.fidelity import hub, verdicts, witness
from benchmarks.fidelity.crossing import Pair, asked, reply_events, whole_document
from benchmarks.fidelity.recording import SHARED, Recorded, read
from benchmarks.fidelity.verdicts import Verdict
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.events import Events, Reply, fold
from relayd.wire.neutral import Request
from relayd.wire.parts import Opaque, Part, Reasoning, Text, ToolCall

Json = dict[str, Any]
Carriers = list[tuple[str, str, str]]  # kind, payload, what it stands on
ACCOUNT: Final = hub.ACCOUNT
ANOTHER: Final = "acc2"
GO_ON: Final = "Go on."
DONE: Final = "done"


def check_all(recordings: Sequence[Recorded]) -> Iterator[Verdict]:
    """The verdicts on all replies with carriers, for each other client."""
    for upstream, client in hub.CROSSINGS:
        row = f"{upstream} by way of {client}"
        for recorded in recordings:
            if recorded.format == upstream and recorded.status == 200:
                found = reply_events(recorded, upstream)
                if carriers_of(fold(found)):
                    check = partial(_check, row, recorded, (upstream, client), found)
                    yield verdicts.judged(row, recorded.id, check)


def carriers_of(reply: Reply) -> Carriers:
    """What the provider wants back, in order, each with what it stands on; nothing where hosted
    tools are between it, which no other format can tell."""
    parts = reply.choices[0].parts if reply.choices else []
    if any(isinstance(part, Opaque) for part in parts):
        return []
    return _carriers(parts)


def told_of(reply: Reply, client: FormatName) -> Carriers:
    """Those of them that such a client is told: in the Messages format none behind the last text,
    because programs take the last block for the answer."""
    wanted = carriers_of(reply)
    if client != "messages" or not wanted:
        return wanted
    parts = list(reply.choices[0].parts)
    behind = 0
    while parts and isinstance(parts[-1], Reasoning) and not any(parts[-1].text):
        behind += parts.pop().carrier is not None
    ends_in_text = bool(parts) and isinstance(parts[-1], Text)
    return wanted[: len(wanted) - behind] if ends_in_text and behind else wanted


def _carriers(parts: Iterable[Part]) -> Carriers:
    return [
        (part.carrier.kind, part.carrier.payload, _stand(part))
        for part in parts
        if part.carrier is not None
    ]


def _stand(part: Part) -> str:
    """A signature of a text is a part of its own in a reply, and the text's in a history."""
    return "a call" if isinstance(part, ToolCall) else "text"


def _check(row: str, recorded: Recorded, pair: Pair, found: Events) -> Verdict:
    _, client = pair
    wanted = told_of(fold(found), client)
    problems = []
    gathered = witness.understood(client, _streamed(client, found))
    for manner, document in (("whole", whole_document(client, found)), ("streamed", gathered)):
        try:
            problems += [f"{manner}: {one}" for one in _lost(document, pair, wanted)]
        except BadCall as exc:
            return Verdict(row, recorded.id, "refused", why=exc.message)
    return Verdict(row, recorded.id, "failed" if problems else "equal", problems=tuple(problems))


def _streamed(client: FormatName, found: Events) -> bytes:
    """The reply as a stream."""
    way = hub.coming(client, asked(client))
    return hub.writer(client, way).write(hub.restore(client).apply(found))


def _lost(document: Json, pair: Pair, wanted: Carriers) -> Iterator[str]:
    """What does not come back, with the reply in the history of the client's next request."""
    upstream, client = pair
    body = HISTORIES[client](document) | {"model": hub.MODEL}
    aim = hub.target(hub.PATHS[client])
    kept = _sent(hub.codec(client).decode(body, aim), upstream, ACCOUNT)
    arrived = _carried(kept, upstream)
    if arrived != wanted:
        yield f"carriers: {_told(wanted)} became {_told(arrived)}"
    stranger = orjson.dumps(_sent(hub.codec(client).decode(body, aim), upstream, ANOTHER)).decode()
    if any(payload in stranger for _, payload, _ in wanted) or "rly1" in stranger:
        yield "another account gets what is not its own"


def _chat(document: Json) -> Json:
    message = document["choices"][0]["message"]
    told = message.get("tool_calls") or []
    results = [{"role": "tool", "tool_call_id": call["id"], "content": DONE} for call in told]
    follow = results or [{"role": "user", "content": GO_ON}]
    return {"messages": [{"role": "user", "content": "Hi"}, message, *follow]}


def _messages(document: Json) -> Json:
    told = [block["id"] for block in document["content"] if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": name, "content": DONE} for name in told]
    follow = results or [{"type": "text", "text": GO_ON}]
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": document["content"]},
        {"role": "user", "content": follow},
    ]
    return {"max_tokens": 4096, "messages": turns}


def _responses(document: Json) -> Json:
    told = [item for item in document["output"] if item["type"].endswith("_call")]
    results = [
        {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": DONE}
        for item in told
    ]
    follow = results or [{"role": "user", "content": GO_ON}]
    return {"input": [{"role": "user", "content": "Hi"}, *document["output"], *follow]}


def _gemini(document: Json) -> Json:
    said = document["candidates"][0]["content"]
    told = [part["functionCall"] for part in said["parts"] if "functionCall" in part]
    results: list[Json] = [
        {"functionResponse": {"response": {}} | {k: call[k] for k in ("id", "name") if k in call}}
        for call in told
    ]
    follow = {"role": "user", "parts": results or [{"text": GO_ON}]}
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, said, follow]}


HISTORIES: Final = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
}


def _sent(request: Request, upstream: FormatName, account: str) -> Json:
    """The request as an account of the upstream's gets it."""
    way = replace(hub.going(upstream, lenient=True), scope=account)
    document: Json = hub.encoded(request, way).document
    return document


def _carried(document: Json, upstream: FormatName) -> Carriers:
    """The carriers in the history of a request as the upstream reads it."""
    request = hub.codec(upstream).decode(document, hub.target(hub.PATHS[upstream]))
    return _carriers(request.parts())


def _told(carriers: Carriers) -> list[str]:
    return [f"{kind} {payload[:12]}~{len(payload)} on {part}" for kind, payload, part in carriers]


if __name__ == "__main__":
    results = list(check_all(read(SHARED)))
    print("\n".join(verdicts.lines("carriers", results)))
    sys.exit(verdicts.failed(results))
