"""What a translation left out, and what it had to refuse.

One `Losses` goes along with one request on its way to one upstream. An encoder that cannot say
something asks here; the answer is a name in `dropped`, which the client reads in the header
`x-relayd-dropped`, or `CannotTranslate`, which is a 400 that names the field. Strict is the rule:
what is marked `lenient` is only dropped where the key, the group or the upstream is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from relayd.errors import NotHere
from relayd.model import FormatName
from relayd.wire.neutral import Request
from relayd.wire.parts import Extras, Loss, Opaque, Part

LONGEST_HEADER: Final = 1000  # of x-relayd-dropped; more is told by a number
LONGEST_PARAM: Final = 200


class CannotTranslate(NotHere):
    """This upstream's format cannot say what the client asks. Another upstream's may: the relay
    tries those first, and tells the client of the first refusal when all refuse."""


class Losses:
    """What one translation leaves out. Owns the names.

    Arguments:
        to: the format that it is translated to.
        lenient: whether what is marked so is dropped rather than refused.
    """

    __slots__ = ("_lenient", "_names", "_to")

    def __init__(self, to: FormatName, *, lenient: bool = False) -> None:
        self._to = to
        self._lenient = lenient
        self._names: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<Losses to={self._to} lenient={self._lenient} {list(self._names)}>"

    @property
    def dropped(self) -> tuple[str, ...]:
        """The fields that were left out, in the client's own names, in order, each once."""
        return tuple(self._names)

    @property
    def header(self) -> bytes:
        """The value of `x-relayd-dropped`: printable ASCII of bounded length; b"" for nothing."""
        told, size = [], 0
        for number, name in enumerate(self._names):
            size += len(name) + 2
            if size > LONGEST_HEADER:
                told.append(f"and {len(self._names) - number} more")
                break
            told.append(name)
        return ", ".join(told).encode("ascii", "replace")

    def lose(self, loss: Loss, param: str, why: str = "", *, code: str | None = None) -> None:
        """This cannot be said: leave it out as `loss` has it, or raise CannotTranslate.

        Arguments:
            param: where the client wrote it.
            why: the end of a sentence; "the messages format has no field for it" where it is empty.
        """
        if loss == "silent":
            return
        if loss == "drop" or (loss == "lenient" and self._lenient):
            self._names[_shown(param)] = None
            return
        raise self.refusal(param, why, code=code)

    def refusal(self, param: str, why: str = "", *, code: str | None = None) -> CannotTranslate:
        """The error for a field that cannot be left out."""
        shown = _shown(param)
        reason = why or f"the {self._to} format has no field for it"
        message = f"`{shown}` cannot be translated for this model: {reason}."
        return CannotTranslate(message, param=shown, code=code)

    def extras(self, extra: Extras, at: str = "") -> None:
        """None of these can be said."""
        for name, (_, loss) in extra.items():
            self.lose(loss, f"{at}.{name}" if at else name)

    def of_request(self, request: Request) -> None:
        """None of what only the format of origin says can be said: ask for all of it at once.

        Every encoder of another format calls this first, so that none of it is forgotten.
        """
        self.extras(request.extra)
        for message in request.messages:
            self.extras(message.extra, message.at)
        self.parts(request.parts())
        for tool in request.all_tools():
            self.extras(tool.extra, tool.at)
        for name, extra in (
            ("thinking", request.thinking.extra),
            ("shape", request.output.shape.extra if request.output.shape else {}),
            ("tool_choice", request.tool_choice.extra if request.tool_choice else {}),
        ):
            self.extras(extra, request.param(name))

    def parts(self, parts: Iterable[Part]) -> None:
        """None of what only the format of origin says about these can be said."""
        for part in parts:
            if part.extra:
                self.extras(part.extra, part.at)
            if part.item is not None and part.item.extra:
                self.extras(part.item.extra, part.at)
            if isinstance(part, Opaque) and part.format != self._to:
                why = f"`{part.kind}` exists in the {part.format} format only"
                self.lose(part.loss, part.at, why, code="unsupported_value")


def _shown(param: str) -> str:
    """A path that may stand in a header and in a message."""
    clean = "".join(c if " " < c <= "~" and c != "," else "?" for c in param[: LONGEST_PARAM + 1])
    return clean if len(clean) <= LONGEST_PARAM else clean[:LONGEST_PARAM] + "~"
