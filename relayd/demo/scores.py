"""Moderations in OpenAI's shape, rerank in the shape that Cohere and Jina share.

A text is flagged when it holds a word of the table, a document is relevant as far as it shares
words with the query: enough for a test to know what comes.
"""

from __future__ import annotations

import re
from typing import Any, Final

from relayd.demo.ask import Document, count, dicts, string, table, weigh
from relayd.demo.refusal import Refusal
from relayd.demo.script import Script
from relayd.demo.task import Task, Work, usage_of

MOST_INPUTS: Final = 1024
_CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_FLAGS: Final = {"kill": "violence", "hate": "hate", "steal": "illicit", "idiot": "harassment"}
_WORD: Final = re.compile(r"\w+")


def _moderations(task: Task) -> Script:
    asked = task.asked.get("input")
    inputs = [asked] if isinstance(asked, str) else asked
    if not isinstance(inputs, list) or not inputs or len(inputs) > MOST_INPUTS:
        raise Refusal(400, "'$.input' is invalid.", param="input")
    # A list of parts is one thing to judge, a list of texts is many.
    many = all(isinstance(item, str) for item in inputs)
    texts = inputs if many else [" ".join(string(part.get("text")) for part in dicts(inputs))]
    body = {"id": f"modr-{task.seed}", "model": task.name.model, "results": [*map(_judged, texts)]}
    return task.whole(body)


def _judged(text: str) -> Document:
    words = set(_WORD.findall(text.lower()))
    found = {category for word, category in _FLAGS.items() if word in words}
    return {
        "flagged": bool(found),
        "categories": {name: name in found for name in _CATEGORIES},
        "category_scores": {name: 0.98 if name in found else 0.0001 for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }


def _rerank(task: Task) -> Script:
    query = task.demand("query")
    asked = task.asked.get("documents")
    if not isinstance(asked, list) or not asked or len(asked) > MOST_INPUTS:
        raise Refusal(400, "'documents' must be a list of texts.", param="documents")
    texts = [item if isinstance(item, str) else string(table(item).get("text")) for item in asked]
    wanted = set(_WORD.findall(query.lower()))
    scored = sorted(((-_likeness(wanted, text), n) for n, text in enumerate(texts)))
    most = count(task.asked.get("top_n")) or len(texts)
    shown = task.asked.get("return_documents") is True
    results = [_result(number, -score, texts, shown) for score, number in scored[: max(1, most)]]
    tokens = weigh(query, texts)
    usage = usage_of(task, {"prompt_tokens": tokens, "total_tokens": tokens})
    units = {} if task.name.has("no-usage") else {"billed_units": {"search_units": 1}}
    meta = {"api_version": {"version": "2"}, **units}
    shape = {"id": task.seed, "object": "list", "model": task.name.model}
    return task.whole({**shape, "results": results, "meta": meta, **usage})


def _likeness(wanted: set[str], text: str) -> float:
    return len(wanted & set(_WORD.findall(text.lower()))) / max(1, len(wanted))


def _result(number: int, score: float, texts: list[str], shown: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"index": number, "relevance_score": round(score, 4)}
    return result | {"document": {"text": texts[number]}} if shown else result


WORKS: Final[dict[str, Work]] = {
    "/v1/moderations": _moderations,
    "/v1/rerank": _rerank,
}
