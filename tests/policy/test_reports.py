"""What a report becomes on its way out: JSON that every reader can read."""

from __future__ import annotations

import math

import orjson

from relayd.policy.reports import DoorReport, ProbeResult

DOOR = DoorReport(
    "openai",
    "2",
    tier=1,
    weight=3,
    state="cooling",
    why="429",
    until=11.25049,
    in_flight=2,
    requests=30,
    failures=1,
    success_ratio=29 / 30,
    first_byte=0.21234567,
    first_byte_p95=None,
    models=(("fast", "open", math.inf, "5 failures in a row"),),
)


def test_a_door_is_called_by_its_upstream_and_its_key() -> None:
    assert DOOR.name == "openai/2"


def test_a_report_keeps_its_fields_and_rounds_its_numbers() -> None:
    document = orjson.loads(orjson.dumps(DOOR.as_json()))
    assert document["until"] == 11.25
    assert document["success_ratio"] == 0.9667
    assert (document["first_byte"], document["first_byte_p95"]) == (0.2123, None)
    assert list(document) == list(DoorReport._fields)


def test_models_in_trouble_are_objects_and_never_is_null() -> None:
    assert DOOR.as_json()["models"] == [
        {"model": "fast", "state": "open", "until": None, "why": "5 failures in a row"}
    ]


def test_a_probe_keeps_its_fields() -> None:
    result = ProbeResult("openai", "2", False, "401", 0.200049)
    assert orjson.loads(orjson.dumps(result.as_json())) == {
        "upstream": "openai",
        "key": "2",
        "ok": False,
        "why": "401",
        "seconds": 0.2,
    }


def test_a_state_may_be_that_of_the_models() -> None:
    bad = ("m", "open", 5.0, "It failed.")
    one = DoorReport("up", "1", 1, 1, "open", "It failed.", 5.0, 0, 0, 0, None, None, None, (bad,))
    assert one.by_models
    assert not one._replace(why="It cannot be reached.").by_models
    assert not one._replace(models=()).by_models
