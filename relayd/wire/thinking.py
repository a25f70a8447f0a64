"""How much a model shall think, said in the way that it takes.

Clients say it in four ways: switched on or off, as an effort, as a budget of tokens, or left to the
model. Models take some of these. Here is the one place that turns the first into the second, so
that the four encoders only spell what comes out. What cannot be said at all is reported; a nearest
effort or a budget that fits is not, because efforts are no exact measure anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from relayd.model import FormatName
from relayd.wire.capabilities import EFFORTS, Capability, ThinkingForm
from relayd.wire.neutral import Effort, Request
from relayd.wire.setting import Going, Rules

Show = Literal["none", "summary", "raw"]

SMALLEST_BUDGET: Final = 1024  # that the Messages API takes
# A budget of fewer tokens than this is that effort; what is above all of them is xhigh.
_EFFORT_BELOW: Final[tuple[tuple[int, Effort], ...]] = (
    (1024, "minimal"),
    (4096, "low"),
    (12_288, "medium"),
    (24_577, "high"),
)
# Where a model knows budgets only, and is spoken to in a format that knows efforts only.
_USUAL_EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
# The efforts that a format has a word for, where it has not one for all.
_SPELLED: Final[Mapping[FormatName, frozenset[Effort]]] = {
    "messages": frozenset({"low", "medium", "high", "xhigh", "max"}),
    "gemini": frozenset({"minimal", "low", "medium", "high"}),
}
_EFFORTS_ONLY: Final = frozenset({"chat", "responses"})


@dataclass(frozen=True, slots=True)
class Control:
    """What is said to the upstream about thinking.

    Attributes:
        form: None says nothing, but `effort` may still be said. `level` is an effort alone,
            `budget` is Gemini's budget, `enabled` is Anthropic's, `disabled` is no thinking.
        effort: one that the model takes, or None. `none` comes with `disabled` only, where efforts
            are the only words.
        budget: tokens, with `enabled` and `budget`; -1 is as many as the model likes, 0 is none
            (both only with `budget`).
        show: what the client shall see of it; None says nothing.
    """

    form: ThinkingForm | None = None
    effort: Effort | None = None
    budget: int | None = None
    show: Show | None = None

    @property
    def thinks(self) -> bool:
        """Whether the upstream is asked to think."""
        return self.form not in (None, "disabled") and self.budget != 0


SILENT: Final = Control()


def thought(request: Request, going: Going, *, forced: bool = False) -> Control:
    """What to say about thinking.

    Arguments:
        forced: a tool must be called though the client does not say so.
    """
    wanted = _wanted(request)
    if wanted == "nothing":
        return _silent(request, going)
    if wanted == "off":
        return _off(request, going)
    if not going.can.thinking:
        going.losses.lose("drop", request.param("thinking"))
        return SILENT
    if wanted == "between_tools":
        going.losses.lose("drop", request.param("thinking"))
        return _silent(request, going)
    control = _on(request, going)
    choice = request.tool_choice
    must = forced or (choice is not None and choice.mode == "required")
    if must and going.can.forced_tool == "idle" and "disabled" in going.can.thinking:
        # A call that must be made is a harder wish than to think about it.
        going.losses.lose("drop", request.param("thinking"))
        return _off(request, going)
    return control


def is_idle(request: Request, can: Capability) -> bool:
    """Whether the model will not think, as far as anybody knows."""
    wanted = _wanted(request)
    if wanted == "nothing":
        return can.default_effort == "none"
    return wanted == "off" and not can.always_thinks


def nearest(effort: Effort, efforts: tuple[Effort, ...]) -> Effort | None:
    """The most that a model takes up to `effort`, else the least that it takes; None for none."""
    there = [each for each in EFFORTS if each in efforts and each != "none"]
    up_to = [each for each in there if EFFORTS.index(each) <= EFFORTS.index(effort)]
    return (up_to or there)[-1 if up_to else 0] if there else None


def effort_of(budget: int) -> Effort:
    """The effort that a thinking budget amounts to."""
    return next((effort for limit, effort in _EFFORT_BELOW if budget < limit), "xhigh")


# --- what the client wants ----------------------------------------------------------------------


def _wanted(request: Request) -> Literal["nothing", "off", "on", "between_tools"]:
    thinking = request.thinking
    if thinking.mode == "off" or thinking.budget == 0:
        return "off"
    if thinking.mode == "between_tools":
        return "between_tools"
    if thinking.mode is None and thinking.effort == "none":
        return "off"
    # Of Anthropic's clients an effort alone does not ask for thinking: it is of the whole answer.
    alone = thinking.mode is None and thinking.budget is None
    if alone and (thinking.effort is None or request.source == "messages"):
        return "nothing"
    return "on"


def _shown(request: Request, rules: Rules) -> Show | None:
    """What the client sees of the thinking that it asked for."""
    if request.thinking.show is not None:
        return request.thinking.show
    usual: Mapping[FormatName, bool] = {"chat": rules.show_reasoning, "messages": True}
    return "summary" if usual.get(request.source) else None


# --- what is said -------------------------------------------------------------------------------


def _silent(request: Request, going: Going) -> Control:
    """Nothing was asked: nothing is said but an effort, and that the thinking is to be seen where
    the model thinks anyway and hides it otherwise."""
    can, show = going.can, request.thinking.show
    effort = request.thinking.effort
    said = nearest(effort, _efforts(going)) if effort is not None and can.thinking else None
    if show in ("summary", "raw") and can.shows_thinking and "adaptive" in can.thinking:
        return Control(_form(going), said, None, show)
    if going.format == "gemini":
        if effort is not None and can.thinking and _form(going) == "budget":
            return _budgeted("budget", request, going, show)
        return Control("level" if said else None, said, None, show)
    return Control("level" if said and going.format in _EFFORTS_ONLY else None, said, None, show)


def _off(request: Request, going: Going) -> Control:
    can = going.can
    if not can.thinking:
        return SILENT  # it does not think anyway
    efforts = _efforts(going)
    if going.format == "gemini":
        return _off_at_gemini(request, going, efforts)
    if "disabled" in can.thinking:
        if going.format in _EFFORTS_ONLY:
            return Control("disabled", "none")
        return Control("disabled", _beside_disabled(request, can, efforts))
    going.losses.lose("drop", request.param("thinking"))
    if "between_tools" in can.thinking and going.format == "messages":
        return Control("between_tools")
    least = nearest("minimal", efforts)
    return Control("level" if going.format in _EFFORTS_ONLY and least else None, least)


def _beside_disabled(
    request: Request, can: Capability, efforts: tuple[Effort, ...]
) -> Effort | None:
    """The effort of an answer without thinking, which some models bound."""
    effort = _asked(request)
    if effort is None:
        return can.disabled_up_to
    most = can.disabled_up_to
    if most is not None and EFFORTS.index(most) < EFFORTS.index(effort):
        effort = most
    return nearest(effort, efforts)


def _off_at_gemini(request: Request, going: Going, efforts: tuple[Effort, ...]) -> Control:
    can = going.can
    if "budget" not in can.thinking:
        return Control("level", nearest("minimal", efforts), None, "none")
    if "disabled" in can.thinking:
        return Control("budget", None, 0, None)
    going.losses.lose("drop", request.param("thinking"))
    return Control("budget", None, can.budgets[0], "none")


def _on(request: Request, going: Going) -> Control:
    form, show = _form(going, request.thinking.budget), _shown(request, going.rules)
    if form in ("enabled", "budget"):
        return _budgeted(form, request, going, show)
    return Control(form, _effort(request, going), None, show)


def _effort(request: Request, going: Going) -> Effort | None:
    """The effort that was asked for, or that the budget amounts to."""
    effort, budget = _asked(request), request.thinking.budget
    if effort is None and budget is not None and budget > 0:
        effort = effort_of(budget)
    if effort is None:
        # The model decides; one that would decide not to think has to be told.
        decides = going.can.default_effort != "none" or "adaptive" in going.can.thinking
        return None if decides else nearest("medium", _efforts(going))
    return nearest(effort, _efforts(going))


def _budgeted(
    form: Literal["enabled", "budget"], request: Request, going: Going, show: Show | None
) -> Control:
    can, budget, effort = going.can, request.thinking.budget, _asked(request)
    if budget is None and effort is None and form == "budget":
        budget = -1
    if budget == -1 and form == "budget":
        return Control(form, None, -1, show)
    if budget is None or budget == -1:
        budget = going.rules.budgets[effort or "medium"]
    budget = min(max(budget, can.budgets[0]), can.budgets[1])
    room = _room(request, can)
    if form == "enabled" and room is not None and budget >= room:
        budget = room - 1
        if budget < SMALLEST_BUDGET:
            going.losses.lose("drop", request.param("thinking"))
            return SILENT
    said = nearest(effort, _efforts(going)) if form == "enabled" and effort is not None else None
    return Control(form, said, budget, show)


def _room(request: Request, can: Capability) -> int | None:
    """How many tokens the answer may have, thinking included; None where nothing bounds it."""
    bounds = [each for each in (request.output.limit, can.max_output) if each is not None]
    return min(bounds) if bounds else None


def _form(
    going: Going, budget: int | None = None
) -> Literal["level", "adaptive", "enabled", "budget"]:
    """How this upstream is told to think."""
    forms = going.can.thinking
    if going.format in _EFFORTS_ONLY:
        return "level"
    if going.format == "gemini":
        return "budget" if "budget" in forms else "level"
    if budget is not None and budget > 0 and "enabled" in forms:
        return "enabled"
    return "adaptive" if "adaptive" in forms or "level" in forms else "enabled"


def _asked(request: Request) -> Effort | None:
    """The effort that the client wants of a model that thinks."""
    effort = request.thinking.effort
    return effort if effort != "none" else None


def _efforts(going: Going) -> tuple[Effort, ...]:
    """The efforts that can be said there."""
    efforts = going.can.efforts
    if not efforts and going.format in _EFFORTS_ONLY and going.can.thinking:
        return _USUAL_EFFORTS
    spelled = _SPELLED.get(going.format)
    return efforts if spelled is None else tuple(each for each in efforts if each in spelled)
