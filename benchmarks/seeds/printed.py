"""The restated requests: `requests.yaml` read into records. A wrong line of it is a ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
REQUESTS: Final = HERE / "requests.yaml"
SNIPPETS: Final = HERE / "snippets"
# What the pages write instead of the model's name alone.
OTHERS: Final = "(or other models)"


@dataclass(frozen=True, slots=True)
class Promise:
    """What a page promises of an answer.

    Arguments:
        status: the status, or "5xx" for any of them.
        shape: which of `checks.SHAPES` it has.
        model: the model that must be named in it; "" for the one that was asked.
        pixels: width and height of the pictures in it, where the page asked for them.
    """

    status: int | str = 200
    shape: str = ""
    stream: bool = False
    model: str = ""
    pixels: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Seed:
    """One request of a page, restated; the fields are those of `requests.yaml`."""

    name: str
    page: str
    printed: str
    path: str
    promise: Promise
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    form: Mapping[str, str] | None = None
    snippet: str = ""
    curl: bool = False
    said: bool = False
    model: tuple[str, ...] = ()
    key: str = "main"
    before: int = 0
    needs: str = ""

    @property
    def printed_method(self) -> str:
        """The method that curl takes: a request without a body is a GET."""
        return self.method if self.body or self.form else "GET"

    def paths(self) -> list[str]:
        """The paths to ask: as printed, and one for each model that stands for "other models"."""
        head, _, tail = self.path.partition(OTHERS)
        root = head.rpartition("/")[0]
        return [self.path, *(f"{root}/{model}{tail}" for model in self.model)]


def load(file: Path = REQUESTS) -> list[Seed]:
    """All seeds, in the order of the file."""
    documents = yaml.safe_load(file.read_text())
    return [_seed(document) for document in documents]


def _seed(document: Mapping[str, Any]) -> Seed:
    fields = dict(document)
    promise = dict(fields.pop("promise"))
    if "pixels" in promise:
        promise["pixels"] = tuple(promise["pixels"])
    fields["model"] = tuple(fields.get("model", ()))
    try:
        seed = Seed(promise=Promise(**promise), **fields)
    except TypeError as error:
        raise ValueError(f"{document.get('name')!r}: {error}") from None
    if seed.curl and not (seed.body or seed.form or "method" in fields):
        return Seed(promise=Promise(**promise), method="GET", **fields)
    return seed
