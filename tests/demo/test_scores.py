"""Moderations and rerank answer what a test can foresee."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.demo.script import Script
from tests.demo.serving import script_of


def judge(asked: object, **more: Any) -> Any:
    return orjson.loads(script_of("/v1/moderations", {"input": asked, **more}).whole)


def rank(**asked: Any) -> Script:
    document = {"model": "demo-rerank", "query": "red fox", "documents": ["a red fox", "sea"]}
    return script_of("/v1/rerank", document | asked)


def test_every_text_is_judged_and_parts_are_one() -> None:
    results = judge(["all is well", "I will kill"])["results"]
    assert [result["flagged"] for result in results] == [False, True]
    assert results[1]["categories"]["violence"]
    parts = [{"type": "text", "text": "I will"}, {"type": "text", "text": "kill"}]
    assert [result["flagged"] for result in judge(parts)["results"]] == [True]


def test_a_moderation_may_leave_the_model_out() -> None:
    assert judge("a")["model"] == "omni-moderation-latest"
    assert judge("a", model="demo-moderation")["model"] == "demo-moderation"
    assert "error" in judge(None)


def test_documents_are_ranked_by_the_words_they_share() -> None:
    documents = ["sea", "a red fox", {"text": "red"}]
    reply = orjson.loads(rank(documents=documents, return_documents=True).whole)
    assert [result["index"] for result in reply["results"]] == [1, 2, 0]
    assert reply["results"][0] == {
        "index": 1,
        "relevance_score": 1.0,
        "document": {"text": "a red fox"},
    }
    assert reply["meta"]["billed_units"] == {"search_units": 1}
    assert reply["usage"]["total_tokens"] > 0


def test_only_the_best_come_when_so_asked() -> None:
    assert len(orjson.loads(rank(top_n=1).whole)["results"]) == 1
    silent = orjson.loads(rank(model="demo-rerank-no-usage").whole)
    assert "usage" not in silent
    assert "billed_units" not in silent["meta"]


@pytest.mark.parametrize("asked", [{"query": ""}, {"documents": []}, {"documents": "x"}])
def test_what_cannot_be_ranked_is_refused(asked: dict[str, Any]) -> None:
    assert rank(**asked).status == 400
