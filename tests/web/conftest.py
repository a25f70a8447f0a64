"""The admin API with a database, over a real socket; every answer is held against the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from relayd.accounts import Group
from relayd.web.admin import TABLE
from relayd.web.admin_schema import schema
from tests.support.admin_desk import TOKEN, AdminDesk, door
from tests.support.admin_office import Office


class Counter:
    """Asks a desk, and fails where an answer is not what the document says."""

    def __init__(self, desk: AdminDesk) -> None:
        self.desk = desk

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        token: str | None = TOKEN,
    ) -> Any:
        """The document answered, of this status."""
        reply = self.desk.ask(method, path, body, token=token)
        assert reply.status == status, reply.body
        check(method, path.partition("?")[0], status, reply.document)
        return reply.document

    def refused(self, method: str, path: str, body: object = None, *, status: int = 400) -> str:
        """What was said to something that cannot be done, and changed nothing."""
        before = self.desk.changes
        document = self(method, path, body, status=status)
        assert self.desk.changes == before
        message: str = document["error"]["message"]
        return message


def check(method: str, path: str, status: int, document: object) -> None:
    """That this may be answered, as the document has it."""
    components = schema().document["components"]
    found: Any = {"$ref": "#/components/schemas/Refusal"}
    if status < 300:
        route, _ = TABLE.find(method, path)
        operation = schema().document["paths"][route.path][method.lower()]
        found = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    Draft202012Validator({**found, "components": components}).validate(document)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[AdminDesk]:
    doors = [door("openai"), door("azure")]
    groups = [Group("team", multiplier=1_500_000, strict=True)]
    with AdminDesk(doors, database=tmp_path / "relayd.db", groups=groups) as desk:
        yield desk


@pytest.fixture
def ask(desk: AdminDesk) -> Counter:
    return Counter(desk)


@pytest.fixture
def alice(ask: Counter) -> Any:
    """An account with twenty dollars."""
    ask("POST", "/accounts", {"name": "alice"}, status=201)
    ask("POST", "/accounts/alice/credits", {"amount": "20", "reason": "start"}, status=201)
    return ask("GET", "/accounts/alice")


@pytest.fixture
def office() -> Office:
    """For what needs neither socket nor database."""
    return Office()
