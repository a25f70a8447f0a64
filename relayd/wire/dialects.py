"""Upstream types: who speaks which formats, where, and how a key is shown to them, as data.

A base URL is written with the version segment or without it, as each provider's documentation
happens to do; a version that is there is kept, and one that is missing is added. Dialects that
speak every format at one root (`demo`, `relay`) choose the version themselves, because Gemini's
differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.paths import Target

AuthStyle = Literal["bearer", "x-api-key", "x-goog-api-key", "by-format"]

EVERY_FORMAT: tuple[FormatName, ...] = ("chat", "responses", "messages", "gemini")
_VERSION = re.compile(r"v\d+((alpha|beta)\d*)?")
_BY_FORMAT: Mapping[str, AuthStyle] = {
    "chat": "bearer",
    "responses": "bearer",
    "messages": "x-api-key",
    "gemini": "x-goog-api-key",
}
# Tokens of Anthropic's OAuth logins are no API keys: they go where every other token goes.
_OAUTH = "sk-ant-oat"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One type of upstream.

    Attributes:
        name: what the configuration calls it.
        formats: the formats that it speaks natively.
        default_base_url: where it is, or "" when only the operator knows.
        auth: how the key is sent.
        version: the path segment before every route; "" where there is none.
        every_root: all formats live at one root, Gemini under its own version.
        listing: the last part of the path whose GET shows for nothing whether a key is good: the
            list of models, nearly everywhere; "" where there is none.
        counts: the formats in which it counts tokens for nothing.
        resells: its models are other providers', served at endpoints of its own.
    """

    name: str
    formats: tuple[FormatName, ...]
    default_base_url: str = ""
    auth: AuthStyle = "bearer"
    version: str = "v1"
    every_root: bool = False
    listing: str = "models"
    counts: tuple[FormatName, ...] = ()
    resells: bool = False


_CHAT: tuple[FormatName, ...] = ("chat",)
_OPENAI: tuple[FormatName, ...] = ("chat", "responses")
_COUNTED: tuple[FormatName, ...] = ("responses", "messages", "gemini")

_TABLE = (
    Dialect("openai", _OPENAI, "https://api.openai.com/v1", counts=("responses",)),
    Dialect(
        "anthropic",
        ("messages",),
        "https://api.anthropic.com",
        "x-api-key",
        counts=("messages",),
    ),
    Dialect(
        "gemini",
        ("gemini",),
        "https://generativelanguage.googleapis.com",
        "x-goog-api-key",
        "v1beta",
        counts=("gemini",),
    ),
    Dialect("openai-compatible", _CHAT, resells=True),
    Dialect("demo", EVERY_FORMAT, auth="by-format", every_root=True, counts=_COUNTED, resells=True),
    Dialect(
        "relay", EVERY_FORMAT, auth="by-format", every_root=True, counts=_COUNTED, resells=True
    ),
    # Its list of models is public: only this asks for the key.
    Dialect("openrouter", _OPENAI, "https://openrouter.ai/api/v1", listing="key", resells=True),
    Dialect("deepseek", _CHAT, "https://api.deepseek.com/v1"),
    Dialect("groq", _CHAT, "https://api.groq.com/openai/v1"),
    Dialect("mistral", _CHAT, "https://api.mistral.ai/v1"),
    Dialect("xai", _OPENAI, "https://api.x.ai/v1"),
    Dialect("cerebras", _CHAT, "https://api.cerebras.ai/v1"),
    Dialect("together", _CHAT, "https://api.together.xyz/v1"),
    Dialect("fireworks", _CHAT, "https://api.fireworks.ai/inference/v1"),
    Dialect("moonshot", _CHAT, "https://api.moonshot.ai/v1"),
    Dialect("zai", _CHAT, "https://api.z.ai/api/paas/v4"),
    Dialect("perplexity", _CHAT, "https://api.perplexity.ai", version="", listing=""),
    Dialect("ollama", _CHAT, "http://localhost:11434/v1"),
)

DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in _TABLE}


def request_target(dialect: Dialect, base_url: str, target: Target, model: str) -> str:
    """Path and query of the request line for `target` at this upstream. Raises BadCall where the
    model's name would lead somewhere else."""
    sse = target.format == "gemini" and _is_sse(target)
    return _path(dialect, base_url, target.format, _tail(target, model), "alt=sse" if sse else "")


def session_target(dialect: Dialect, base_url: str, query: str) -> str:
    """Path and query of a realtime session at this upstream."""
    return _path(dialect, base_url, "chat", "realtime", query)


def resource_target(dialect: Dialect, base_url: str, target: Target) -> str:
    """Path and query of the request line for what is there already, or for what relayd does not
    know: `target.rest` says where."""
    if target.operation == "follow_up":
        return _path(dialect, base_url, target.format, f"{target.verb}/{target.rest}", target.query)
    base = urlsplit(base_url)
    steps = [step for step in base.path.split("/") if step]
    rest = target.rest.strip("/").split("/")
    own = steps.pop() if steps and _VERSION.fullmatch(steps[-1]) else ""
    if own and rest[0] == "v1":  # ours: the upstream may count otherwise
        rest[0] = own
    query = "&".join(filter(None, [base.query, target.query]))
    # A slash at the end may matter to whoever reads it.
    path = "/".join(["", *steps, *rest]) + ("/" if target.rest.endswith("/") else "")
    return f"{path}?{query}" if query else path


def listing_target(dialect: Dialect, base_url: str, format_name: FormatName) -> str | None:
    """Path and query of the GET that shows whether a key is good; None where there is none."""
    if not dialect.listing:
        return None
    return _path(dialect, base_url, format_name, dialect.listing)


def _path(
    dialect: Dialect, base_url: str, format_name: FormatName, tail: str, query: str = ""
) -> str:
    base = urlsplit(base_url)
    steps = [step for step in base.path.split("/") if step]
    if dialect.every_root and steps and _VERSION.fullmatch(steps[-1]):
        steps.pop()
    if dialect.every_root or not any(map(_VERSION.fullmatch, steps)):
        steps.append(_version(dialect, format_name))
    path = "/".join(filter(None, [*steps, tail]))
    query = "&".join(filter(None, [base.query, query]))
    return f"/{path}?{query}" if query else f"/{path}"


def auth_headers(dialect: Dialect, format_name: str, key: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that show `key` to this upstream; none where there is no key."""
    if not key:
        return ()
    style = _BY_FORMAT[format_name] if dialect.auth == "by-format" else dialect.auth
    if style == "bearer" or key.startswith(_OAUTH):
        return ((b"authorization", b"Bearer " + key.encode()),)
    return ((style.encode(), key.encode()),)


def _version(dialect: Dialect, format_name: FormatName) -> str:
    return "v1beta" if dialect.every_root and format_name == "gemini" else dialect.version


def _is_sse(target: Target) -> bool:
    return bool(target.stream) and target.sse


def _tail(target: Target, model: str) -> str:
    if target.format != "gemini":
        return target.verb
    # A tuned model, or one of a publisher, brings its own collection along.
    name = model if model.startswith(("tunedModels/", "publishers/")) else f"models/{model}"
    if "/." in name and not {".", ".."}.isdisjoint(name.split("/")):
        raise BadCall("The model's name is not one.", code="model_not_found", param="model")
    return f"{quote(name, safe='/:@')}:{target.verb}"
