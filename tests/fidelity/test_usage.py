"""Token counts are what the recorded JSON states, and no token is counted twice.

The yardstick is a second counter, written from the usage normal form alone: it takes a reply as
parsed documents, knows nothing of needles, reads or observers, and shares no line with the relay's.
Every recorded reply is read in each way that the relay has: whole, its last bytes, a stream in one
read, a stream cut at awkward places. The hand-made recordings always run; the real ones lie beside
the checkout on some machines only. Where the parts do not sum to the reported total, the exception
stands in a table with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fidelity.cuts import cut
from benchmarks.fidelity.events import documents, parsed
from benchmarks.fidelity.recording import FIXTURE, SHARED, Recorded, read
from relayd.model import FormatName, Usage
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.paths import Target, locate

Json = dict[str, Any]

# Replies whose parts do not sum to the total that they report, and why that is right.
UNEQUAL = {
    "chat/cached-more-than-prompt": "more cached than there was prompt: both counts are kept",
    "test_openai/test_compatible_api_with_tool_calls_without_id#0": "the total holds thoughts that "
    "no other count of the reply mentions",
    "test_openai/test_compatible_api_with_tool_calls_without_id#1": "the same",
    "google/test_structured_output/test_native_output_with_builtin_tools_stream#0": "totals that "
    "restart with each pass of the model: the last value of each field comes from several passes",
}
# Replies that claim more reasoning than output: reasoning is a subset, whatever they say.
REASONING_BEYOND_OUTPUT = {
    "test_openrouter/test_openrouter_stream_error#0": "a stream that broke: 11 of 10 tokens",
}


class Counts(NamedTuple):
    """The five counts that are billed, and the total as reported."""

    fresh: int | None
    read: int | None
    written: int
    out: int | None
    reasoning: int | None
    total: int | None


# --- the second counter ---------------------------------------------------------------------------


def counted(recorded: Recorded) -> Counts | None:
    """What the reply states, read the obvious way; None when it states nothing."""
    if recorded.counts_tokens or recorded.status >= 300:
        return None
    family = recorded.format.removesuffix("-aux")
    found = list(documents(recorded.body)) if recorded.stream else [parsed(recorded.body) or {}]
    return COUNTERS[family](found)


def _chat(found: list[Json]) -> Counts | None:
    stated = [d.get("usage") or (d.get("x_groq") or {}).get("usage") for d in found]
    usage = next((u for u in reversed(stated) if u), None)
    if usage is None:
        return None
    into, out = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    names = ("cached_tokens", "num_cached_tokens", "prompt_cache_hit_tokens")
    candidates = [(into or {}).get("cached_tokens"), *(usage.get(name) for name in names)]
    read_tokens = next((n for n in candidates if n is not None), None)
    written = (into or {}).get("cache_write_tokens") or 0
    prompt, completion, total = (usage[f"{n}_tokens"] for n in ("prompt", "completion", "total"))
    reasoning = (out or {}).get("reasoning_tokens")
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # a host that counts it apart
    fresh = max(prompt - (read_tokens or 0) - written, 0)
    return Counts(fresh, read_tokens, written, completion, reasoning, total)


def _responses(found: list[Json]) -> Counts | None:
    last = [d.get("response") or d for d in found][-1]
    usage = last.get("usage")
    if not usage:
        return None
    into, out = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    cached, written = into.get("cached_tokens"), into.get("cache_write_tokens") or 0
    fresh = usage["input_tokens"] - (cached or 0) - written
    reasoning, total = out.get("reasoning_tokens"), usage["total_tokens"]
    return Counts(fresh, cached, written, usage["output_tokens"], reasoning, total)


def _messages(found: list[Json]) -> Counts | None:
    usage: Json = {}
    for document in found:
        news = (document.get("message") or document).get("usage") or {}
        usage.update({k: v for k, v in news.items() if v is not None})
    if not usage:
        return None
    passes = usage.get("iterations") or [usage]

    def summed(name: str) -> int:
        return sum(each.get(name) or 0 for each in passes)

    cached = summed("cache_read_input_tokens") if "cache_read_input_tokens" in passes[0] else None
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    written = summed("cache_creation_input_tokens")
    return Counts(summed("input_tokens"), cached, written, summed("output_tokens"), thinking, None)


def _gemini(found: list[Json]) -> Counts | None:
    usage: Json = {}
    for document in found:
        usage.update(document.get("usageMetadata") or {})
    if not usage:
        return None
    prompt, cached = usage["promptTokenCount"], usage.get("cachedContentTokenCount")
    spoken, thoughts = usage.get("candidatesTokenCount") or 0, usage.get("thoughtsTokenCount")
    total, tools = usage.get("totalTokenCount"), usage.get("toolUsePromptTokenCount") or 0
    out: int | None = spoken + (thoughts or 0)
    if total is None and "candidatesTokenCount" not in usage and thoughts is None:
        out = None  # embeddings
    elif total == prompt + tools + spoken:
        out = spoken  # a surface that includes the thoughts
    return Counts(prompt - (cached or 0), cached, 0, out, thoughts, total)


def _embeddings(found: list[Json]) -> Counts | None:
    usage = found[0].get("usage") or {}
    total = usage.get("total_tokens")
    return Counts(usage.get("prompt_tokens", total), None, 0, None, None, total)


COUNTERS = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "embeddings": _embeddings,
}


# --- the relay's reading --------------------------------------------------------------------------


def readings(recorded: Recorded) -> Iterator[tuple[str, Usage | None]]:
    """Every way in which the relay may come to read this reply, and what it read."""
    path, _, query = recorded.path.partition("?")
    target = locate("POST", path, query)
    assert isinstance(target, Target)
    row = FORMATS[target.format]
    if not recorded.stream:
        yield "whole", row.reply_usage(recorded.body, target.operation).usage
        if not recorded.counts_tokens:
            yield "tail", row.tail_usage(recorded.body[-16384:])
        return
    for asked in (True, False):
        head = Head(target, "m", stream=True, body=b"", asked_usage=asked)
        for way, pieces in (
            ("one read", [recorded.body]),
            ("cut", cut(recorded.body, recorded.id)),
        ):
            observer = row.sniffer(head)
            for piece in pieces:
                observer.feed(piece)
            observer.finish()
            yield f"stream in {way}", observer.usage


def told(usage: Usage | None) -> Counts | None:
    """The relay's usage, reduced to what is compared."""
    if usage is None:
        return None
    return Counts(
        usage.in_uncached,
        usage.cache_read,
        usage.cache_write,
        usage.out_total,
        usage.reasoning,
        usage.total_reported,
    )


def successes(path: Path) -> list[Recorded]:
    """The exchanges of a file that were answered."""
    return [one for one in read(path) if one.status < 300]


def differences(path: Path) -> list[str]:
    """Where a reading of the relay is not what the second counter says."""
    found = []
    for recorded in successes(path):
        wanted = counted(recorded)
        for way, usage in readings(recorded):
            got = told(usage)
            if got != wanted:
                found.append(f"{recorded.id} ({way}): stated {wanted}, read {got}")
    return found


def unequal(path: Path) -> tuple[set[str], set[str], Counter[str]]:
    """Ids whose parts do not sum to the total, ids with too much reasoning, and how many sum up."""
    off, beyond, equal = set(), set(), Counter[str]()
    for recorded in successes(path):
        _, usage = next(readings(recorded))
        if usage is None:
            continue
        if (usage.reasoning or 0) > (usage.out_total or 0):
            beyond.add(recorded.id)
        if usage.total_reported is None:
            continue
        if usage.total_reported == usage.total:
            equal[recorded.label] += 1
        else:
            off.add(recorded.id)
    return off, beyond, equal


@pytest.fixture(scope="module", params=["by hand", "real"])
def path(request: pytest.FixtureRequest) -> Path:
    """The recordings: those in the repository, then those beside it."""
    if request.param == "by hand":
        return FIXTURE
    if not SHARED.exists():
        pytest.skip("no recorded provider traffic beside this checkout")
    return SHARED


def test_every_recorded_reply_is_counted_as_it_states(path: Path) -> None:
    assert differences(path) == []


def test_the_parts_sum_to_the_reported_total_or_the_exception_is_listed(path: Path) -> None:
    off, beyond, equal = unequal(path)

    listed = {one.id for one in successes(path)}
    assert off == UNEQUAL.keys() & listed
    assert beyond == REASONING_BEYOND_OUTPUT.keys() & listed
    assert {"chat", "chat stream", "responses", "responses stream"} <= equal.keys()
    assert {"gemini", "gemini stream", "embeddings"} <= equal.keys()


# --- no token twice, whatever the numbers ---------------------------------------------------------

AMOUNT = st.integers(0, 200_000)


@given(fresh=AMOUNT, cached=AMOUNT, written=AMOUNT, spoken=AMOUNT, thought=AMOUNT, apart=...)
def test_a_consistent_reply_comes_back_part_by_part_in_every_format(
    fresh: int, cached: int, written: int, spoken: int, thought: int, apart: bool
) -> None:
    prompt, out = fresh + cached + written, spoken + thought
    chat = {
        "prompt_tokens": prompt,
        "completion_tokens": spoken if apart else out,
        "total_tokens": prompt + out,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    responses = {
        "input_tokens": prompt,
        "output_tokens": out,
        "total_tokens": prompt + out,
        "input_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens_details": {"ttl_30m_tokens": written // 3}
            | {"ttl_12h_tokens": written - written // 3},
        }
        | ({} if apart else {"cache_write_tokens": written}),
        "output_tokens_details": {"reasoning_tokens": thought},
    }
    messages = {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_1h_input_tokens": written // 2},
        "output_tokens": out,
        "output_tokens_details": {"thinking_tokens": thought},
    }
    whole = (fresh, cached, written, out, thought)

    assert _read_back("chat", chat) == whole
    assert _read_back("responses", responses) == whole
    assert _read_back("messages", messages) == whole


@given(fresh=AMOUNT, cached=AMOUNT, tools=AMOUNT, spoken=AMOUNT, thought=AMOUNT, included=...)
def test_a_consistent_gemini_reply_sums_to_its_total(
    fresh: int, cached: int, tools: int, spoken: int, thought: int, included: bool
) -> None:
    out = spoken + thought
    gemini = {
        "promptTokenCount": fresh + cached,
        "cachedContentTokenCount": cached,
        "toolUsePromptTokenCount": tools,
        "candidatesTokenCount": out if included else spoken,
        "thoughtsTokenCount": thought,
        "totalTokenCount": fresh + cached + tools + out,
    }
    reply = orjson.dumps({"usageMetadata": {k: v for k, v in gemini.items() if v}})
    usage = FORMATS["gemini"].reply_usage(reply, "generate").usage

    assert (usage.total if usage else 0) == gemini["totalTokenCount"]
    if usage:
        assert (usage.in_uncached or 0, usage.out_total or 0) == (fresh, out)


def _read_back(name: FormatName, usage: Json) -> tuple[int | None, ...]:
    facts = FORMATS[name].reply_usage(orjson.dumps({"usage": usage}), "generate")
    got = told(facts.usage)
    assert got is not None
    return got[:5]
