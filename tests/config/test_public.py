"""The `public:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.document import Source, root
from relayd.config.public import MOST_ADDRESSES, PublicConfig
from relayd.config.values import record

READ = record(PublicConfig)


def taken(text: str) -> tuple[PublicConfig | None, list[str]]:
    source = Source(Path("/"), {})
    found = root(text, source).take(READ)
    return found, [str(problem) for problem in source.problems]


def test_a_name_and_addresses_the_primary_first() -> None:
    found, problems = taken("name: Our relay\nbase_urls: [https://b.example/, http://a.example/r]")
    assert not problems
    addresses = ("https://b.example", "http://a.example/r")
    assert found == PublicConfig(name="Our relay", base_urls=addresses)


def test_nothing_need_be_said() -> None:
    assert taken("")[0] == taken("base_urls: []")[0] == PublicConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: ''", "is not a name"),
        ("name: " + "x" * 101, "is not a name"),
        ('name: "a\\u001b[0m"', "is not a name"),
        ("base_urls: [relay.example]", "is not an address"),
        ("base_urls: [https://me:pass@relay.example]", "must not hold credentials"),
        ("base_urls: ['https://relay.example?key=1']", "must not hold a query"),
        ("base_urls: [https://relay.example, https://relay.example/]", "stands here twice"),
        (f"base_urls: [{', '.join(f'https://{n}.example' for n in range(21))}]", "more than 20"),
    ],
)
def test_what_is_no_name_or_address_is_a_problem(text: str, words: str) -> None:
    assert MOST_ADDRESSES == 20
    [problem] = taken(text)[1]
    assert words in problem
