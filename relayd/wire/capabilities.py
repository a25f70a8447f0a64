"""What a model takes: a table by model pattern, shipped as data, overruled by the operator.

No model name stands in code. A row says only what it changes; rows are laid over each other from
the least particular to the most particular, the shipped ones first, so that an operator's `*` does
not undo a shipped exact name, but an operator's exact name does. What nobody says is the newest
generation of its family, by the family's own row (`claude-*`). Names are matched as the upstream
writes them, and once more without what hosts add: the path before the last slash
(`anthropic/claude-opus-5`), the variant behind a colon (`:free`), the date of a snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal, NamedTuple

from relayd.accounts import Endpoint
from relayd.model import FormatName
from relayd.wire.neutral import Effort

ThinkingForm = Literal["enabled", "adaptive", "disabled", "between_tools", "level", "budget"]
Medium = Literal["text", "image", "file", "audio", "video"]
EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Capability:
    """What one model takes. The defaults are those of an unknown model of an unknown family: all
    that its format can say is said.

    Attributes:
        tasks: the endpoints that it is for; () is unknown, and may be any.
        context, max_output: tokens; None is unknown.
        default_output: sent where the format demands a limit and the client gives none.
        endpoints: the formats in which its own provider serves it; () is any.
        tools_endpoint: where function tools go unless thinking is off, None is anywhere.
        thinking: the forms of the control that it takes; () takes none.
        always_thinks: thinking cannot be turned off.
        disabled_up_to: it can be, but only with this effort or less; None is with any.
        efforts: the efforts that it takes, none included where that is one.
        default_effort: what it does where nobody says.
        budgets: the smallest and the largest thinking budget.
        shows_thinking: the control has to ask, or nothing is shown.
        sampling: temperature and its like: yes, no, only with effort none (`idle`), or temperature
            and top_p not both (`one`).
        penalties, logprobs: whether it takes them.
        prefill: the history may end on the model's turn.
        mid_system: a system message may stand between others.
        forced_tool: a call can be forced; `idle` only where it does not think.
        native_schema: it answers to a schema by itself.
        strict_tools: it takes `strict` on tools.
        custom_tools: it takes tools with free text.
        hosted_with_functions: hosted tools and functions in one request.
        schema_with_functions: a schema for the answer and functions in one request.
        call_ids: calls have ids; without, they are told by order.
        signatures: it wants its signatures back.
        cache_marks: it takes marks in the prompt, at most so many.
        inputs, outputs: media.
        aspects: shapes of pictures that it draws, as Google names them; () is unknown.
        picture_sizes: their sizes, in the words of its format (`1K`, `1024x1024`); () is unknown,
            or any.
        image_urls: it fetches pictures itself.
        result_media: pictures and files may stand in tool results.
        max_choices: answers to one request.
        max_stop: texts that end an answer; 0 takes none.
        output_field: what Chat hosts call the limit.
    """

    tasks: tuple[Endpoint, ...] = ()
    context: int | None = None
    max_output: int | None = None
    default_output: int = 32_000
    endpoints: tuple[FormatName, ...] = ()
    tools_endpoint: FormatName | None = None
    thinking: tuple[ThinkingForm, ...] = ("enabled", "adaptive", "disabled", "level")
    always_thinks: bool = False
    disabled_up_to: Effort | None = None
    efforts: tuple[Effort, ...] = EFFORTS
    default_effort: Effort | None = None
    budgets: tuple[int, int] = (1024, 32_768)
    shows_thinking: bool = False
    sampling: Literal["yes", "no", "idle", "one"] = "yes"
    penalties: bool = True
    logprobs: bool = True
    prefill: bool = True
    mid_system: bool = False
    forced_tool: Literal["yes", "no", "idle"] = "yes"
    native_schema: bool = True
    strict_tools: bool = True
    custom_tools: bool = False
    hosted_with_functions: bool = True
    schema_with_functions: bool = True
    call_ids: bool = True
    signatures: bool = False
    cache_marks: int = 0
    inputs: tuple[Medium, ...] = ("text", "image", "file", "audio", "video")
    outputs: tuple[Medium, ...] = ("text", "image", "audio")
    aspects: tuple[str, ...] = ()
    picture_sizes: tuple[str, ...] = ()
    image_urls: bool = True
    result_media: bool = True
    max_choices: int = 128
    max_stop: int = 4
    output_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


UNKNOWN: Final = Capability()
FIELDS: Final = frozenset(field.name for field in fields(Capability))
_OF_PROVIDER: Final = frozenset({"endpoints", "tools_endpoint"})
_REMEMBERED: Final = 4096
_SNAPSHOT: Final = re.compile(r"(?:[-@]20\d{6}|-20\d\d-\d\d-\d\d)$")

# A model's pattern -> what it changes: values of the right types, checked by the configuration.
Rows = Mapping[str, Mapping[str, Any]]


class _Row(NamedTuple):
    pattern: re.Pattern[str]
    particularity: tuple[bool, int, int]
    changes: Mapping[str, Any]


class Capabilities:
    """The table. Owns a bounded memory of what was looked up.

    Arguments:
        shipped: relayd's own rows.
        operator: the configuration's.
        upstreams: by upstream's name, rows that hold there only, whatever the others say.
        resellers: the upstreams that serve other providers' models at endpoints of their own: what
            the shipped rows say of endpoints says nothing of those.
    """

    __slots__ = ("_known", "_own", "_resellers", "_rows", "_upstreams")

    def __init__(
        self,
        shipped: Rows,
        operator: Rows | None = None,
        upstreams: Mapping[str, Rows] | None = None,
        resellers: Collection[str] = (),
    ) -> None:
        # Sorting is stable: of two equally particular rows the operator's is laid over ours.
        theirs = _compiled(operator or {})
        self._rows = sorted([*_compiled(shipped), *theirs], key=_by_particularity)
        anywhere = {pattern: _anywhere(changes) for pattern, changes in shipped.items()}
        self._own = sorted([*_compiled(anywhere), *theirs], key=_by_particularity)
        self._resellers = frozenset(resellers)
        self._upstreams = {
            name: sorted(_compiled(rows), key=_by_particularity)
            for name, rows in (upstreams or {}).items()
        }
        self._known: dict[tuple[str, str], Capability] = {}

    def __repr__(self) -> str:
        return f"<Capabilities {len(self._rows)} rows, own ones at {sorted(self._upstreams)}>"

    def of(self, model: str, upstream: str = "") -> Capability:
        """What `model`, by the upstream's own name of it, takes there."""
        found = self._known.get((upstream, model))
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[upstream, model] = self._laid(model, upstream)
        return found

    def _laid(self, model: str, upstream: str) -> Capability:
        names = _spellings(model)
        changes: dict[str, Any] = {}
        rows = self._own if upstream in self._resellers else self._rows
        for row in [*rows, *self._upstreams.get(upstream, ())]:
            if any(map(row.pattern.fullmatch, names)):
                changes |= row.changes
        return replace(UNKNOWN, **changes)


def _anywhere(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a row holds wherever the model is served."""
    return {name: value for name, value in changes.items() if name not in _OF_PROVIDER}


def _compiled(rows: Rows) -> list[_Row]:
    return [
        _Row(
            re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL),
            # Exact names beat patterns; among those the longest literal start, then all of it.
            ("*" not in pattern, len(pattern.partition("*")[0]), len(pattern.replace("*", ""))),
            changes,
        )
        for pattern, changes in rows.items()
    ]


def _by_particularity(row: _Row) -> tuple[bool, int, int]:
    return row.particularity


def _spellings(model: str) -> tuple[str, ...]:
    """The names by which a model may stand in the table."""
    bare = model.rpartition("/")[2]
    plain = bare.partition(":")[0]
    return tuple({model: 0, bare: 0, plain: 0, _SNAPSHOT.sub("", plain): 0})
