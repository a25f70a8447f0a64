"""Lists of models in the three shapes that clients read: OpenAI's, Anthropic's and Google's.

A row says what is known of a model and leaves out the rest rather than inventing it. Anthropic's
and Google's rows have places for limits; OpenAI's has none, so it is the one with the fields that
clients of other relays read there: OpenRouter's `context_length`, `pricing`, `architecture` and
`top_provider`, new-api's `supported_endpoint_types`. Prices are decimal dollars a token as text,
exact, as OpenRouter has them.

Anthropic's and Google's lists come in pages. The largest page is the usual one, because many
clients ask for one page and take it for all. A cursor is the name of a model, so nothing is kept
between two pages, and a model that went away in between is a 400 like any unknown cursor.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from relayd.accounts import UNIT, Endpoint
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.money import DOLLAR

MOST: Final = 1000  # rows of a page
Rates = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """What a list says of one model.

    Attributes:
        owner: the upstream that offers it.
        created: Unix seconds.
        formats: in which it can be asked.
        tasks: the endpoints that it is for; () is unknown.
        context, max_output: tokens; None is unknown.
        inputs, outputs: media; () is unknown.
        rates: by OpenRouter's name of it, millionths of pico-dollars; empty is unknown.
        tiers: the rates of prompts above so many tokens.
    """

    id: str
    owner: str
    created: int
    formats: tuple[FormatName, ...] = ()
    tasks: tuple[Endpoint, ...] = ()
    context: int | None = None
    max_output: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    rates: Rates = field(default_factory=dict)
    tiers: tuple[tuple[int, Rates], ...] = ()


class Wanted(NamedTuple):
    """Which part of a list is asked for: so many rows after a model, or before one."""

    most: int = MOST
    after: str | None = None
    before: str | None = None
    catalogue: bool = False


class Page(NamedTuple):
    """A part of a list, and whether it goes on in the direction that was asked for."""

    models: Sequence[Model]
    goes_on: bool


ALL: Final = Wanted()

# --- what is asked for ----------------------------------------------------------------------------

_WHOLE: Final = re.compile(r"\d{1,9}")


def wanted(shape: FormatName, query: str) -> Wanted:
    """The part of the list that a query string asks for.

    Raises BadCall (400) for a page's size that is none, and a cursor that was never given.
    """
    if not query:
        return ALL
    asked = dict(parse_qsl(query))
    if shape == "messages":
        if "after_id" in asked and "before_id" in asked:
            raise BadCall("Give `after_id` or `before_id`, not both.", param="before_id")
        most = _size(asked, "limit")
        return Wanted(most, asked.get("after_id"), asked.get("before_id"))
    if shape == "gemini":
        name = "page_size" if "page_size" in asked else "pageSize"
        token = asked.get("pageToken") or asked.get("page_token")
        most = _size(asked, name, zero=MOST)
        return Wanted(most, _opened(token) if token else None)
    # Codex asks with its version, and wants a catalogue of its own kind.
    return Wanted(catalogue="client_version" in asked)


def _size(asked: Mapping[str, str], name: str, *, zero: int | None = None) -> int:
    """Rows of a page. Where `zero` says what 0 means, more than the most is the most."""
    text = asked.get(name, str(MOST))
    size = int(text) if _WHOLE.fullmatch(text) else -1
    if zero is not None:
        size = min(size, MOST) or zero
    if not 1 <= size <= MOST:
        raise BadCall(f"`{name}` has to be a whole number from 1 to {MOST}.", param=name)
    return size


def _sealed(model: str) -> str:
    return urlsafe_b64encode(model.encode()).decode().rstrip("=")


def _opened(token: str) -> str:
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise BadCall("`pageToken` is not one that was given.", param="pageToken") from None


def part(models: Sequence[Model], asked: Wanted, shape: FormatName = "messages") -> Page:
    """The rows that are asked for. Raises BadCall (400) for a cursor that is not in the list."""
    first, last = 0, len(models)
    if asked.before is not None:
        last = _place(models, asked.before, "before_id")
        first = max(0, last - asked.most)
        return Page(models[first:last], first > 0)
    if asked.after is not None:
        name = "after_id" if shape == "messages" else "pageToken"
        first = _place(models, asked.after, name) + 1
    end = first + asked.most
    return Page(models[first:end], end < last)


def _place(models: Sequence[Model], name: str, param: str) -> int:
    for place, model in enumerate(models):
        if model.id == name:
            return place
    raise BadCall(f"`{param}` is not a model of this list.", param=param)


# --- what is answered -----------------------------------------------------------------------------


def many(shape: FormatName, models: Sequence[Model], asked: Wanted = ALL) -> bytes:
    """The part of `models` that is asked for. Raises BadCall (400) as `part` does."""
    page = part(models, asked, shape)
    document = _PAGES[shape]([SHAPES[shape](model) for model in page.models], page)
    if asked.catalogue:
        # Codex reads `models` alone, and lays it over the list that it brings along. A row there
        # holds its own prompts: what we know is no such row, and without any it keeps its own.
        document["models"] = []
    return orjson.dumps(document)


def one(shape: FormatName, models: Sequence[Model], model_id: str) -> bytes | None:
    """The model of that id, or None when it is not among `models`."""
    for model in models:
        if model.id == model_id:
            return orjson.dumps(SHAPES[shape](model))
    return None


def dollars(rate: int) -> str:
    """Millionths of pico-dollars as exact decimal dollars."""
    whole, rest = divmod(rate, DOLLAR * UNIT)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


def _openai(model: Model) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
        "name": model.id,
    }
    if kinds := _kinds(model):
        row["supported_endpoint_types"] = kinds
    if model.context is not None:
        row["context_length"] = model.context
    if model.max_output is not None:
        row["max_output_tokens"] = model.max_output
    if model.context is not None:
        row["top_provider"] = {
            "context_length": model.context,
            "max_completion_tokens": model.max_output,
            "is_moderated": False,
        }
    if architecture := _architecture(model):
        row["architecture"] = architecture
    if model.rates:
        row["pricing"] = _priced(model.rates)
    if model.tiers:
        row["pricing_tiers"] = [
            {"above": above, "pricing": _priced(rates)} for above, rates in model.tiers
        ]
    return row


def _priced(rates: Rates) -> dict[str, str]:
    return {name: dollars(rate) for name, rate in rates.items()}


def _architecture(model: Model) -> dict[str, Any]:
    known = {"input_modalities": model.inputs, "output_modalities": model.outputs}
    found: dict[str, Any] = {name: media for name, media in known.items() if media}
    if len(found) == len(known):
        found["modality"] = f"{'+'.join(model.inputs)}->{'+'.join(model.outputs)}"
    return found


def _kinds(model: Model) -> list[str]:
    """The endpoints, as new-api's clients call them."""
    tasks = model.tasks or ("chat",)
    kinds = [_ASKED_AS[name] for name in model.formats] if "chat" in tasks else []
    return kinds + [_DONE_AS[task] for task in tasks if task in _DONE_AS]


def _anthropic(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = {"type": "model", "id": model.id, "display_name": model.id, "created_at": created}
    limits = {"max_input_tokens": model.context, "max_tokens": model.max_output}
    return row | _known(limits)


def _google(model: Model) -> dict[str, Any]:
    row = {"name": f"models/{model.id}", "displayName": model.id}
    limits = {"inputTokenLimit": model.context, "outputTokenLimit": model.max_output}
    verbs = [
        verb
        for task, verbs in _VERBS.items()
        if not model.tasks or task in model.tasks
        for verb in verbs
    ]
    return row | _known(limits) | {"supportedGenerationMethods": list(dict.fromkeys(verbs))}


def _known(limits: dict[str, int | None]) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}


def _openai_page(rows: list[dict[str, Any]], page: Page) -> dict[str, Any]:
    return {"object": "list", "data": rows}


def _anthropic_page(rows: list[dict[str, Any]], page: Page) -> dict[str, Any]:
    ends = (
        {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        if rows
        else dict.fromkeys(("first_id", "last_id"))
    )
    return {"data": rows, "has_more": page.goes_on, **ends}


def _google_page(rows: list[dict[str, Any]], page: Page) -> dict[str, Any]:
    goes_on = {"nextPageToken": _sealed(page.models[-1].id)} if page.goes_on else {}
    return {"models": rows, **goes_on}


_ASKED_AS: Final[Mapping[FormatName, str]] = {
    "chat": "openai",
    "responses": "openai-response",
    "messages": "anthropic",
    "gemini": "gemini",
}
_DONE_AS: Final[Mapping[Endpoint, str]] = {
    "embeddings": "embeddings",
    "images": "image-generation",
    "audio": "audio",
    "realtime": "realtime",
}
_VERBS: Final[Mapping[Endpoint, Sequence[str]]] = {
    "chat": ("generateContent", "streamGenerateContent", "countTokens"),
    "images": ("generateContent", "streamGenerateContent"),
    "embeddings": ("embedContent", "batchEmbedContents"),
}
SHAPES: Mapping[FormatName, Callable[[Model], dict[str, Any]]] = {
    "chat": _openai,
    "responses": _openai,
    "messages": _anthropic,
    "gemini": _google,
}
_PAGES: Mapping[FormatName, Callable[[list[dict[str, Any]], Page], dict[str, Any]]] = {
    "chat": _openai_page,
    "responses": _openai_page,
    "messages": _anthropic_page,
    "gemini": _google_page,
}
