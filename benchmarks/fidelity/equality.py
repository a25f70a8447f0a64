"""When two documents of one format mean the same: the one place where that is defined.

Two documents are equal when they are equal as JSON after every named tolerance of their kind was
applied to both. A tolerance is a rewriting that forgets one difference which the format's own API
does not see, or which relayd makes on purpose; nothing else is forgiven. The tolerances themselves
stand in `tolerances`, each a function with a docstring; which a pair needed is told with the
verdict. As JSON: 1 is 1.0, but true is no 1; members are unordered, lists are ordered.

No code of the relay is used here: a yardstick that shares a bug with what it measures shows none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.fidelity import tolerances as of
from benchmarks.fidelity import tolerances_replies as of_reply
from benchmarks.fidelity.tolerances import Tolerance

SHOWN = 90  # characters of a value in a problem


class Compared(NamedTuple):
    """A verdict: where two documents differ (nothing, when they are equal), and which tolerances
    their equality rests on."""

    problems: list[str]
    tolerances: tuple[str, ...] = ()


def compare(one: Any, other: Any, tolerances: Sequence[Tolerance]) -> Compared:
    """Whether the two are equal under `tolerances`, applied in their order."""
    if not problems(one, other):
        return Compared([])
    left = problems(_forget(one, tolerances), _forget(other, tolerances))
    if left:
        return Compared(left)
    needed = list(tolerances)
    for tolerance in reversed(tolerances):  # where two forgive the same, the more common stays
        without = [each for each in needed if each is not tolerance]
        if not problems(_forget(one, without), _forget(other, without)):
            needed = without
    return Compared([], tuple(tolerance.__name__ for tolerance in needed))


def problems(one: Any, other: Any, at: str = "") -> list[str]:
    """Where two JSON values differ, a line for each place."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted(one.keys() | other.keys()):
            path = f"{at}.{key}" if at else key
            if key not in one:
                found.append(f"{path}: added {_shown(other[key])}")
            elif key not in other:
                found.append(f"{path}: lost {_shown(one[key])}")
            else:
                found += problems(one[key], other[key], path)
        return found
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return [f"{at}: {len(one)} items became {len(other)}"]
        pairs = enumerate(zip(one, other, strict=True))
        return [line for place, (a, b) in pairs for line in problems(a, b, f"{at}[{place}]")]
    same = one == other and isinstance(one, bool) == isinstance(other, bool)
    return [] if same else [f"{at}: {_shown(one)} became {_shown(other)}"]


def _forget(value: Any, tolerances: Sequence[Tolerance]) -> Any:
    for tolerance in tolerances:
        value = tolerance(value)
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}~"


# --- which tolerances apply ----------------------------------------------------------------------

COMMON = (of.null_is_absent, of.nothing_is_absent)

SPOKEN = (
    *COMMON,
    of.one_text_is_a_list,
    of.no_content_is_empty,
    of.false_is_absent,
    of.data_is_padded,
)

CHAT = (of.a_picture_is_an_object, *SPOKEN, of.thinking_has_two_names, of.functions_say_so)

GEMINI = (of.spelling_is_one, *COMMON, of.data_is_padded)

GEMINI_REPLY = (of_reply.index_zero_is_absent, of_reply.a_signature_is_its_texts)

REQUEST: dict[str, tuple[Tolerance, ...]] = {
    "chat": (*CHAT, of.no_arguments_are_an_object, of.usage_is_always_asked),
    "messages": SPOKEN,
    "responses": (
        of.input_is_a_list,
        of.an_item_with_a_role_is_a_message,
        *SPOKEN,
        of.plain_text_is_usual,
    ),
    "gemini": (
        *GEMINI,
        of.declarations_are_one_list,
        of.an_instruction_is_parts,
        of.nothing_is_absent,
    ),
}

REPLY: dict[str, tuple[Tolerance, ...]] = {
    "chat": (
        *CHAT,
        of.no_arguments_are_an_object,
        of_reply.no_zero_values,
        of_reply.the_reason_is_true,
        of_reply.cache_reads_have_many_names,
        of_reply.no_count_is_zero,
    ),
    "messages": (*SPOKEN, of_reply.cache_writes_are_split, of_reply.no_count_is_zero),
    "responses": (of_reply.an_envelope_is_whole, *SPOKEN, of_reply.no_count_is_zero),
    "gemini": (*GEMINI, *GEMINI_REPLY, of_reply.no_count_is_zero),
}

STREAM: dict[str, tuple[Tolerance, ...]] = {
    "chat": (
        of_reply.usage_stands_where_it_stands,
        of_reply.a_word_is_said_once,
        *REPLY["chat"],
        of_reply.progress_is_not_repeated,
    ),
    "messages": REPLY["messages"],
    "responses": (
        *REPLY["responses"],
        of_reply.progress_is_not_repeated,
        of_reply.logprobs_are_rounded,
    ),
    "gemini": REPLY["gemini"],
}


def explained() -> Iterator[tuple[str, str]]:
    """The name of each tolerance and what it forgets."""
    every = {
        t.__name__: t for table in (REQUEST, REPLY, STREAM) for row in table.values() for t in row
    }
    for name, tolerance in every.items():
        yield name, " ".join((tolerance.__doc__ or "").split())
