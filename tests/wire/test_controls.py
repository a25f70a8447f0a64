"""What may be asked of a model (wire-formats 8.2, 8.5, 12)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import FormatName
from relayd.wire import controls
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import (
    Custom,
    Function,
    Hosted,
    Output,
    Request,
    Sampling,
    Shape,
    Thinking,
    ToolChoice,
)
from relayd.wire.parts import Cache, Text, ToolResult
from relayd.wire.setting import Rules
from tests.wire.ways import able, going, request, says

FUNCTION = Function(name="f")
SEARCH = Hosted(
    name="web_search", format="responses", kind="web_search", document={}, at="tools[0]"
)
EVERYTHING = Sampling(
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    frequency_penalty=1,
    presence_penalty=1,
    seed=7,
    logit_bias={"1": 1},
    logprobs=True,
    top_logprobs=2,
    n=2,
)
DEFAULTS = Sampling(1, 1, None, 0, 0, None, {}, logprobs=False, top_logprobs=0, n=1)


def refused(way: Any, asked: Request, function: Any) -> tuple[str | None, str]:
    """The field and the code of the refusal."""
    with pytest.raises(CannotTranslate) as caught:
        function(asked, way)
    return caught.value.param, caught.value.code


# --- sampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "kept"),
    [
        ("chat", Sampling(0.5, 0.9, None, 1, 1, 7, {"1": 1}, logprobs=True, top_logprobs=2, n=2)),
        ("gemini", Sampling(0.5, 0.9, 3, 1, 1, 7, None, logprobs=True, top_logprobs=2, n=2)),
    ],
)
def test_what_a_format_has_a_field_for_is_said(to: FormatName, kept: Sampling) -> None:
    way = going(to, lenient=True)
    assert controls.sampled(request("chat", sampling=EVERYTHING), way) == kept
    assert len(way.losses.dropped) == 1


@pytest.mark.parametrize("to", ["messages", "responses"])
@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(n=2), "n"),
        (Sampling(logit_bias={"1": 1}), "logit_bias"),
        (Sampling(frequency_penalty=1), "frequency_penalty"),
        (Sampling(presence_penalty=1), "presence_penalty"),
        (Sampling(seed=0), "seed"),
    ],
)
def test_what_a_format_has_no_field_for_is_refused_by_name(
    to: FormatName, sampling: Sampling, param: str
) -> None:
    asked = request("gemini", sampling=sampling, places={param: f"generationConfig.{param}"})
    found = refused(going(to), asked, controls.sampled)
    assert found == (f"generationConfig.{param}", "unsupported_value")
    if param != "n":
        way = going(to, lenient=True)
        assert controls.sampled(asked, way) == Sampling()
        assert way.losses.dropped == (f"generationConfig.{param}",)


@pytest.mark.parametrize(
    ("sampling", "can"),
    [
        (Sampling(n=9), {"max_choices": 8}),
        (Sampling(logprobs=True), {"logprobs": False}),
        (Sampling(top_logprobs=1), {"logprobs": False}),
    ],
)
def test_who_would_get_less_than_asked_is_refused_leniently_or_not(
    sampling: Sampling, can: dict[str, Any]
) -> None:
    refused(
        going("chat", able(**can), lenient=True),
        request("chat", sampling=sampling),
        controls.sampled,
    )
    foreign = request("chat", sampling=Sampling(logprobs=True))
    refused(going("messages", lenient=True), foreign, controls.sampled)


@pytest.mark.parametrize("to", ["chat", "responses", "messages", "gemini"])
def test_values_equal_to_the_default_are_lost_in_silence(to: FormatName) -> None:
    can = able(sampling="no", penalties=False, logprobs=False, max_choices=0)
    way = going(to, can)
    kept = controls.sampled(request("chat", sampling=DEFAULTS), way)
    assert kept in (Sampling(), Sampling(logit_bias={}))
    assert way.losses.dropped == ()


@pytest.mark.parametrize(
    ("sampling", "can"),
    [
        (Sampling(temperature=0.2), {"sampling": "no"}),
        (Sampling(top_p=0.2), {"sampling": "no"}),
        (Sampling(top_k=2), {"sampling": "no"}),
        (Sampling(frequency_penalty=2), {"penalties": False}),
        (Sampling(seed=2), {"penalties": False}),
    ],
)
def test_sampling_is_dropped_at_its_default_else_by_the_table(
    sampling: Sampling, can: dict[str, Any]
) -> None:
    """wire-formats, trap 134."""
    asked = request("chat", sampling=sampling)
    refused(going("gemini", able(**can)), asked, controls.sampled)
    assert controls.sampled(asked, going("gemini", able(**can), lenient=True)) == Sampling()
    assert controls.sampled(asked, going("gemini")) == sampling


def test_a_seed_is_no_penalty_but_at_google() -> None:
    asked = request("gemini", sampling=Sampling(seed=2))
    assert controls.sampled(asked, going("chat", able(penalties=False))).seed == 2


@pytest.mark.parametrize(("thinking", "kept"), [(Thinking("off"), 0.3), (Thinking("on"), None)])
def test_sampling_of_an_idle_model_is_said_while_it_does_not_think(
    thinking: Thinking, kept: float | None
) -> None:
    asked = request("messages", sampling=Sampling(temperature=0.3), thinking=thinking)
    way = going("chat", able(sampling="idle"), lenient=True)
    assert controls.sampled(asked, way).temperature == kept


def test_temperature_one_is_said_to_nobody_at_anthropic() -> None:
    asked = request("chat", sampling=Sampling(temperature=1, top_p=1))
    assert controls.sampled(asked, going("messages")) == Sampling()
    assert controls.sampled(asked, going("chat")) == Sampling(temperature=1, top_p=1)


@pytest.mark.parametrize(("to", "hottest"), [("messages", 1.0), ("gemini", 2.0)])
def test_a_temperature_beyond_the_scale_is_never_rescaled(to: FormatName, hottest: float) -> None:
    asked = request("chat", sampling=Sampling(temperature=2.5))
    assert refused(going(to), asked, controls.sampled)[0] == "temperature"
    way = going(to, lenient=True)
    assert controls.sampled(asked, way) == Sampling(temperature=hottest)
    assert way.losses.dropped == ("temperature",)


def test_anthropic_models_draw_as_they_like_while_they_think() -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=3)
    thinking = request("chat", sampling=sampling, thinking=Thinking("on", "low"))
    way = going("messages", lenient=True)
    assert controls.sampled(thinking, way) == Sampling(top_p=0.9)
    assert way.losses.dropped == ("temperature", "top_k")
    assert controls.sampled(request("chat", sampling=sampling), going("messages")) == sampling


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "asked", "can", "said", "dropped"),
    [
        ("messages", None, {}, 32_000, ()),
        ("messages", None, {"max_output": 8000}, 8000, ()),
        ("messages", None, {"default_output": 500}, 500, ()),
        ("chat", None, {"max_output": 8000}, None, ()),
        ("chat", 9000, {"max_output": 8000}, 8000, ("max_tokens",)),
        ("messages", 9000, {"max_output": 9000}, 9000, ()),
        ("gemini", 9000, {}, 9000, ()),
    ],
)
def test_a_limit_is_put_in_where_it_must_be_there_and_capped(
    to: FormatName,
    asked: int | None,
    can: dict[str, Any],
    said: int | None,
    dropped: tuple[str, ...],
) -> None:
    way = going(to, able(**can))
    limited = request("chat", output=Output(limit=asked), places={"output.limit": "max_tokens"})
    assert controls.limit(limited, way) == said
    assert way.losses.dropped == dropped


def test_a_limit_that_nobody_asked_for_leaves_the_answer_its_room() -> None:
    thinking = request("chat", thinking=Thinking("on", budget=8000))
    assert controls.limit(thinking, going("messages")) == 40_000
    assert controls.limit(thinking, going("messages", able(max_output=32_768))) == 32_768


def test_a_request_that_only_warms_a_cache_is_refused() -> None:
    asked = request("messages", output=Output(limit=0), places={"output.limit": "max_tokens"})
    assert refused(going("chat", lenient=True), asked, controls.limit)[0] == "max_tokens"


@pytest.mark.parametrize(
    ("to", "can", "asked", "said", "dropped"),
    [
        ("chat", {}, [], [], ()),
        ("responses", {}, [], [], ()),
        ("chat", {}, ["a", " "], ["a", " "], ()),
        ("messages", {}, ["a"], ["a"], ()),
        ("messages", {}, ["a", " \n"], ["a"], ("stop",)),
        ("gemini", {"max_stop": 1}, ["a", "b"], ["a"], ("stop",)),
    ],
)
def test_texts_that_end_an_answer_are_said_as_far_as_the_model_knows_them(
    to: FormatName,
    can: dict[str, Any],
    asked: list[str],
    said: list[str],
    dropped: tuple[str, ...],
) -> None:
    way = going(to, able(**can), lenient=True)
    assert controls.stops(request("chat", output=Output(stop=asked)), way) == said
    assert way.losses.dropped == dropped
    if dropped:
        strictly = going(to, able(**can))
        refused(strictly, request("chat", output=Output(stop=asked)), controls.stops)


@pytest.mark.parametrize(("to", "can"), [("responses", {}), ("chat", {"max_stop": 0})])
def test_texts_that_end_an_answer_are_refused_where_there_are_none(
    to: FormatName, can: dict[str, Any]
) -> None:
    asked = request("chat", output=Output(stop=["a"]))
    assert refused(going(to, able(**can), lenient=True), asked, controls.stops)[0] == "stop"


@pytest.mark.parametrize(
    ("to", "asked", "said"),
    [
        ("messages", [], []),
        ("messages", ["text"], []),
        ("gemini", ["text", "image"], ["text", "image"]),
    ],
)
def test_an_answer_is_made_of_what_comes_back(
    to: FormatName, asked: list[str], said: list[str]
) -> None:
    output = Output(modalities=asked)
    assert controls.modalities(request("chat", output=output), going(to)) == said


@pytest.mark.parametrize(
    ("to", "medium"), [("messages", "image"), ("chat", "image"), ("gemini", "audio")]
)
def test_an_answer_that_cannot_come_back_is_refused(to: FormatName, medium: str) -> None:
    asked = request("gemini", output=Output(modalities=["text", medium]))
    assert refused(going(to, lenient=True), asked, controls.modalities)[0] == "modalities"


@pytest.mark.parametrize(
    ("to", "asked", "said"),
    [
        ("chat", "low", "low"),
        ("responses", "medium", "medium"),
        ("messages", "medium", ""),
        ("gemini", "", ""),
    ],
)
def test_verbosity_is_said_where_there_is_a_word_for_it(
    to: FormatName, asked: str, said: str
) -> None:
    assert controls.verbosity(request("chat", output=Output(verbosity=asked)), going(to)) == said


def test_verbosity_is_left_out_where_there_is_no_word_for_it() -> None:
    """opencode sends it to every model whose name it knows from OpenAI."""
    asked = request("chat", output=Output(verbosity="low"))
    way = going("messages")
    assert (controls.verbosity(asked, way), way.losses.dropped) == ("", ("verbosity",))


# --- tools --------------------------------------------------------------------------------------


def test_a_tool_that_its_provider_runs_is_refused_elsewhere() -> None:
    asked = request("responses", tools=[FUNCTION, SEARCH])
    assert refused(going("chat"), asked, controls.usable) == ("tools[0]", "unsupported_value")
    way = going("chat", lenient=True)
    assert controls.usable(asked, way) == [FUNCTION]
    assert way.losses.dropped == ("tools[0]",)
    assert controls.usable(asked, going("responses")) == [FUNCTION, SEARCH]


def test_an_operator_may_have_web_searches_done_by_the_upstream() -> None:
    asked = request("responses", tools=[SEARCH, FUNCTION])
    way = going("messages", rules=Rules(map_search=True))
    assert controls.usable(asked, way) == [SEARCH, FUNCTION]
    assert controls.searches(SEARCH, way)
    assert not controls.searches(FUNCTION, way)
    assert not controls.searches(SEARCH, going("messages"))
    assert not controls.searches(SEARCH, going("responses", rules=Rules(map_search=True)))


@pytest.mark.parametrize(
    ("choice", "can", "said"),
    [
        (None, {}, None),
        (ToolChoice("auto"), {}, ToolChoice("auto")),
        (ToolChoice("required", ("f",)), {}, ToolChoice("required", ("f",))),
        (ToolChoice("none"), {"forced_tool": "no"}, ToolChoice("none")),
    ],
)
def test_a_choice_that_can_be_said_stays(
    choice: ToolChoice | None, can: dict[str, Any], said: ToolChoice | None
) -> None:
    asked = request("chat", tools=[FUNCTION], tool_choice=choice)
    assert controls.chosen(asked, going("messages", able(**can))) == said


def test_a_choice_names_declared_tools_only() -> None:
    asked = request("chat", tools=[FUNCTION], tool_choice=ToolChoice("required", ("g",)))
    assert refused(going("messages", lenient=True), asked, controls.chosen) == (
        "tool_choice",
        "invalid_value",
    )


@pytest.mark.parametrize(
    ("choice", "can", "said"),
    [
        (ToolChoice("required", hosted={}), {}, None),
        (ToolChoice("required"), {"forced_tool": "no"}, ToolChoice("auto")),
        (
            ToolChoice("required", ("f",)),
            {"forced_tool": "no"},
            ToolChoice("auto", ("f",), listed=True),
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_or_left_to_the_model(
    choice: ToolChoice, can: dict[str, Any], said: ToolChoice | None
) -> None:
    asked = request("responses", tools=[FUNCTION], tool_choice=choice)
    refused(going("messages", able(**can)), asked, controls.chosen)
    way = going("messages", able(**can), lenient=True)
    assert controls.chosen(asked, way) == said
    assert way.losses.dropped == ("tool_choice",)


@pytest.mark.parametrize("tools", [[], [SEARCH]])
def test_a_choice_of_nothing_is_no_choice(tools: list[Any]) -> None:
    auto = request("responses", tools=tools, tool_choice=ToolChoice("auto"))
    assert controls.chosen(auto, going("chat")) is None
    must = request("responses", tools=tools, tool_choice=ToolChoice("required"))
    refused(going("chat"), must, controls.chosen)
    assert controls.chosen(must, going("chat", lenient=True)) is None


@pytest.mark.parametrize(
    ("choice", "said", "dropped"),
    [
        (ToolChoice("required", ("web_search",)), None, ("tool_choice",)),
        (ToolChoice("auto", ("web_search",), listed=True), None, ()),
        (
            ToolChoice("required", ("web_search", "f"), listed=True),
            ToolChoice("required", ("f",), listed=True),
            (),
        ),
    ],
)
def test_nobody_is_told_to_call_a_tool_that_was_left_out(
    choice: ToolChoice, said: ToolChoice | None, dropped: tuple[str, ...]
) -> None:
    asked = request("responses", tools=[FUNCTION, SEARCH], tool_choice=choice)
    way = going("chat", lenient=True)
    assert controls.chosen(asked, way) == said
    assert way.losses.dropped == dropped
    mapped = going("messages", rules=Rules(map_search=True))
    assert controls.chosen(asked, mapped) == choice


@pytest.mark.parametrize(
    ("parallel", "tools", "choice", "one"),
    [
        (False, [FUNCTION], None, True),
        (False, [FUNCTION], ToolChoice("required"), True),
        (False, [FUNCTION], ToolChoice("none"), False),
        (False, [], None, False),
        (None, [FUNCTION], None, False),
        (True, [FUNCTION], None, False),
    ],
)
def test_one_call_at_a_time_is_said_where_there_could_be_more(
    parallel: bool | None, tools: list[Any], choice: ToolChoice | None, one: bool
) -> None:
    asked = request("chat", parallel=parallel, tools=tools, tool_choice=choice)
    assert controls.one_call_at_a_time(asked) is one


# --- caches -------------------------------------------------------------------------------------


def marked() -> Request:
    """A request with five marks: on a tool, a text, a text in a result, the result, a text."""
    mark = Cache()
    inner = Text("inner", cache=mark)
    parts = [Text("first", cache=mark), ToolResult("c", parts=[inner], cache=mark), Text("plain")]
    tool = Custom(name="t", cache=mark)
    return request(
        "messages", says("user", *parts), says("user", Text("last", cache=mark)), tools=[tool]
    )


@pytest.mark.parametrize(("most", "kept"), [(0, 0), (1, 1), (4, 4), (9, 5)])
def test_the_last_marks_are_kept(most: int, kept: int) -> None:
    asked = marked()
    marks = controls.Marks(asked, able(cache_marks=most))
    holders: list[Any] = [*asked.tools, *asked.parts()]
    found = [holder for holder in holders if marks.of(holder, holder.cache)]
    assert len(found) == kept
    assert repr(marks) == f"<Marks {kept}>"
    if most == 1:
        assert found == [asked.messages[1].parts[0]]


@pytest.mark.parametrize(
    ("said", "user", "found"),
    [
        (["Be kind."], "Hi", ["Be kind.", controls.JSON_ONLY]),
        ([], "Hi", [controls.JSON_ONLY]),
        (["Use JSON."], "Hi", ["Use JSON."]),
        (["Be kind."], "as json", ["Be kind."]),
    ],
)
def test_who_demands_any_json_says_so(said: list[str], user: str, found: list[str]) -> None:
    asked = request("gemini", says("user", user), says("user", "json"))
    asked.instructions = [Text(each) for each in said]
    for shape, texts in (
        (Shape("json"), found),
        (Shape("schema", schema={}), said),
        (None, said),
    ):
        asked.output.shape = shape
        parts = controls.instructed(asked, *asked.opening())
        assert [part.text for part in parts if isinstance(part, Text)] == texts


def test_a_form_has_to_be_an_object_where_only_objects_are_made() -> None:
    asked, way = request("gemini"), going("responses")
    controls.rooted_in_object(asked, way, {"type": "object"})
    controls.rooted_in_object(asked, way, {})
    with pytest.raises(CannotTranslate) as caught:
        controls.rooted_in_object(asked, way, {"type": "string"})
    assert caught.value.param == "shape"


def test_instructions_alone_may_demand_json() -> None:
    asked = request("gemini", instructions=[Text("Hi")], output=Output(shape=Shape("json")))
    assert controls.instructed(asked, *asked.opening())[1:] == [Text(controls.JSON_ONLY)]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(temperature=0.2, top_p=0.9), Sampling(temperature=0.2)),
        (Sampling(top_p=0.9), Sampling(top_p=0.9)),
        (Sampling(temperature=1, top_p=0.9), Sampling(top_p=0.9)),
        (Sampling(temperature=0.2, top_p=1), Sampling(temperature=0.2)),
    ],
)
def test_where_a_model_takes_one_of_them_the_temperature_is_it(
    sampling: Sampling, kept: Sampling
) -> None:
    can, asked = able(sampling="one"), request("chat", sampling=sampling)
    assert controls.sampled(asked, going("messages", can, lenient=True)) == kept


def test_where_the_temperature_cannot_be_said_the_other_is() -> None:
    can = able(sampling="one", thinking=("enabled",))
    thinks = Thinking(mode="on", budget=2048)
    asked = request("chat", sampling=Sampling(temperature=0.2, top_p=0.9), thinking=thinks)
    way = going("messages", can, lenient=True)
    assert controls.sampled(asked, way) == Sampling(top_p=0.9)
    assert way.losses.dropped == ("temperature",)


def test_that_both_were_said_is_reported_or_refused() -> None:
    can = able(sampling="one")
    asked = request("chat", sampling=Sampling(temperature=0.2, top_p=0.9))
    way = going("messages", can, lenient=True)
    controls.sampled(asked, way)
    assert way.losses.dropped == ("top_p",)
    with pytest.raises(CannotTranslate) as caught:
        controls.sampled(asked, going("messages", can))
    assert caught.value.param == "top_p"
