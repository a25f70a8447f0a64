"""A file of recorded traffic: one exchange with a provider per line, as JSON, plain or gzipped.

The replies' bytes are made once, here: a document becomes compact JSON, a text its UTF-8. Requests
go to the path that a client of their format uses, whatever odd prefix the recorded host had; the
model and the verb of a Gemini path are kept.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "traffic.jsonl"  # made by hand, always there
SHARED = ROOT.parent / "shared" / "recordings" / "provider-traffic.jsonl.gz"  # real, beside us

# format of the recording -> (path, header that carries the key, what stands before the key)
ROUTES = {
    "chat": ("/v1/chat/completions", "authorization", "Bearer "),
    "responses": ("/v1/responses", "authorization", "Bearer "),
    "messages": ("/v1/messages", "x-api-key", ""),
    "messages-aux": ("/v1/messages/count_tokens", "x-api-key", ""),
    "embeddings": ("/v1/embeddings", "authorization", "Bearer "),
    "gemini": ("/v1beta/models/", "x-goog-api-key", ""),
    "gemini-aux": ("/v1beta/models/", "x-goog-api-key", ""),
}


class BadRecording(Exception):
    """A line is not an exchange; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One exchange: what a client sent and what the provider answered.

    Arguments:
        id: the recorded test and the position in it.
        format: a key of ROUTES.
        path: of the request to the relay, with the query.
        request: the body sent.
        asked_usage: whether the request asked for usage in the stream (chat only).
        content_type: of the reply.
        retry_after: of the reply, "" for none.
        body: the reply.
    """

    id: str
    format: str
    path: str
    stream: bool
    request: bytes
    asked_usage: bool
    status: int
    content_type: str
    retry_after: str
    body: bytes

    @property
    def label(self) -> str:
        """The line of the table it belongs to."""
        return f"{self.format} stream" if self.stream else self.format

    @property
    def counts_tokens(self) -> bool:
        """Whether it only asks how many tokens something has; that consumes none."""
        return self.path.partition("?")[0].endswith(("count_tokens", ":countTokens"))

    @property
    def embeds(self) -> bool:
        """Whether it asks for embeddings."""
        return self.format == "embeddings" or "mbedContent" in self.path

    def credential(self, key: str) -> dict[str, str]:
        """The header that carries `key` the way clients of this format do."""
        _, name, scheme = ROUTES[self.format]
        return {name: scheme + key}


def read(path: Path) -> list[Recorded]:
    """All exchanges of a file. Raises BadRecording, OSError."""
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as lines:
        return list(_exchanges(lines))


def _exchanges(lines: Any) -> Iterator[Recorded]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield exchange(orjson.loads(line))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as exc:
            raise BadRecording(f"line {number} is not an exchange: {exc!r}") from None


def exchange(line: dict[str, Any]) -> Recorded:
    """One line, parsed."""
    request, reply, headers = line["request"], line["response"], line["headers"]
    options = request.get("stream_options") or {}
    return Recorded(
        id=line["id"],
        format=line["format"],
        path=_path(line),
        stream=bool(line["stream"]),
        request=orjson.dumps(request),
        asked_usage=bool(options.get("include_usage")),
        status=int(line["status"]),
        content_type=headers.get("content-type", "application/json"),
        retry_after=headers.get("retry-after", ""),
        body=reply.encode() if isinstance(reply, str) else orjson.dumps(reply),
    )


def _path(line: dict[str, Any]) -> str:
    route = ROUTES[line["format"]][0]
    if line["format"].startswith("gemini"):
        route += line["path"].rpartition("models/")[2]
    query = line.get("query") or ""
    return f"{route}?{query}" if query else route
