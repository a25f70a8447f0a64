"""The `tracing:` section: where spans are sent. The headers that a receiver wants are secrets."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from relayd.config.document import Place, Wrong
from relayd.config.edits import headers
from relayd.config.values import Reader, fields, number, web_address
from relayd.model import Secret
from relayd.tracing import TracingTerms

NEEDED = "opentelemetry.exporter"


def tracing(place: Place) -> TracingTerms:
    """Read the section."""
    terms = TracingTerms(**fields(place, READERS))
    if terms.endpoint and not is_installed():
        raise Wrong("needs OpenTelemetry's SDK: pip install '.[otel]' in relayd's folder")
    return terms


def is_installed() -> bool:
    """Whether the extra is there."""
    try:
        return find_spec(NEEDED) is not None
    except ModuleNotFoundError:
        return False


def _endpoint(place: Place) -> str:
    if not place.text().strip():
        return ""
    text = web_address(place.text(), "http://localhost:4318/v1/traces")
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise Wrong("must not hold a password: what a receiver wants goes into `headers`")
    return text


def _headers(place: Place) -> tuple[tuple[str, Secret], ...]:
    return tuple((name, Secret(value)) for name, value in headers(place))


def _service(place: Place) -> str:
    text = place.text().strip()
    if not text or len(text) > 100 or not text.isprintable():
        raise Wrong("is not a name")
    return text


READERS: Mapping[str, Reader] = {
    "endpoint": _endpoint,
    "headers": _headers,
    "sample": number(0.0, 1.0),
    "service": _service,
}
