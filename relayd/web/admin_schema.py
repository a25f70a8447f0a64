"""The document of the admin API, and the checks that it stands for.

The OpenAPI document is written by hand (`relayd/data/openapi.yaml`) and is the one place where
queries and bodies are described; here it becomes a check per operation, made once. A parameter that
the document does not name is refused: a misspelt filter must not show everything. Sizes are bounded
before anything is parsed (`admin.BODY`), and no pattern of the document can run away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from relayd import __version__
from relayd.errors import BadCall

Node = dict[str, Any]

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_MOST_PARAMETERS = 30
_LONGEST_COMPLAINT = 300


class Parameter(NamedTuple):
    """One parameter of the query: how its text is read, and what it may be then."""

    read: Callable[[str], Any]
    validator: Draft202012Validator


class Operation:
    """The checks of one operation of the document.

    Arguments:
        query: the parameters it takes.
        maybe_body: what its body must be; None where it takes none.
        needs_body: whether one must come.
    """

    def __init__(
        self,
        query: Mapping[str, Parameter],
        maybe_body: Draft202012Validator | None,
        needs_body: bool,
    ) -> None:
        self.takes_body = maybe_body is not None
        self._query = query
        self._maybe_body = maybe_body
        self._needs_body = needs_body

    def __repr__(self) -> str:
        return f"<Operation query={list(self._query)} takes_body={self.takes_body}>"

    def check_query(self, query: str) -> dict[str, Any]:
        """The parameters by name, each in its type. Raises BadCall."""
        found: dict[str, Any] = {}
        for name, text in _pairs(query):
            parameter = self._query.get(name)
            if parameter is None:
                raise BadCall(_unknown_parameter(name, self._query), param=name[:100])
            value = parameter.read(text)
            if found.setdefault(name, value) != value:
                raise BadCall(f"`{name}` is given twice.", param=name)
            _complain(parameter.validator, value, name)
        return found

    def check_body(self, body: bytes) -> dict[str, Any]:
        """The body's object, {} for none where none is needed. Raises BadCall."""
        if self._maybe_body is None or not (body or self._needs_body):
            return {}
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BadCall("The body is not valid JSON.") from None
        _complain(self._maybe_body, document, "")
        checked: dict[str, Any] = document
        return checked


class Schema:
    """The whole document, ready to be served and to check with."""

    def __init__(self, document: Node) -> None:
        self.document = document
        self.text = orjson.dumps(document)
        self._components = document["components"]
        self._operations = {
            (method.upper(), path): self._operation(item, item[method])
            for path, item in document["paths"].items()
            for method in item
            if method != "parameters"
        }

    def __repr__(self) -> str:
        return f"<Schema of {len(self._operations)} operations>"

    @property
    def operations(self) -> list[tuple[str, str]]:
        """(method, path) of all of them."""
        return list(self._operations)

    def operation(self, method: str, path: str) -> Operation:
        """The checks of one; KeyError: it is not in the document."""
        return self._operations[method, path]

    def _operation(self, item: Node, node: Node) -> Operation:
        listed = map(self._looked_up, (*item.get("parameters", ()), *node.get("parameters", ())))
        query = {
            one["name"]: Parameter(_reader(self._looked_up(one["schema"])), self._validator(one))
            for one in listed
            if one["in"] == "query"
        }
        body = node.get("requestBody")
        content = body["content"]["application/json"] if body else None
        return Operation(
            query, self._validator(content) if content else None, bool(body and body["required"])
        )

    def _looked_up(self, node: Node) -> Node:
        """What a reference stands for; anything else is itself."""
        if "$ref" not in node:
            return node
        _, _, kind, name = node["$ref"].split("/")
        found: Node = self._components[kind][name]
        return found

    def _validator(self, holder: Node) -> Draft202012Validator:
        return Draft202012Validator({**holder["schema"], "components": self._components})


@cache
def schema() -> Schema:
    """The document that is shipped with this version."""
    text = files("relayd").joinpath("data", "openapi.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    document: Node = yaml.load(text, loader)  # noqa: S506 (both are safe ones)
    document["info"]["version"] = __version__
    return Schema(document)


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise BadCall("The query has too many parameters, or is not UTF-8.") from None


def _reader(node: Node) -> Callable[[str], Any]:
    """How the text of a parameter is read; what does not fit stays text, which no check lets by."""
    readers: dict[Any, Callable[[str], Any]] = {
        "integer": lambda text: int(text) if _INTEGER.fullmatch(text) else text,
        "number": lambda text: float(text) if _NUMBER.fullmatch(text) else text,
        "boolean": lambda text: {"true": True, "false": False}.get(text, text),
        "array": lambda text: text.split(",") if text else [],
    }
    return readers.get(node.get("type"), str)


def _complain(validator: Draft202012Validator, value: object, name: str) -> None:
    """Raise BadCall with what is most wrong, if anything is."""
    error = best_match(validator.iter_errors(value))
    if error is None:
        return
    where = ".".join([*filter(None, [name]), *map(str, error.absolute_path)])
    message = error.message[:_LONGEST_COMPLAINT]
    raise BadCall(f"{where}: {message}" if where else message, param=where or None)


def _unknown_parameter(name: str, known: Iterable[str]) -> str:
    listed = ", ".join(known)
    return f"There is no parameter `{name[:100]}`; there is: {listed or 'none'}."
