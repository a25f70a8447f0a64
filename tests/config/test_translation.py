"""The `translation:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.document import Source, root
from relayd.config.translation import translation
from relayd.wire.setting import Fetching, Rules, Translating


def read(text: str) -> tuple[Translating | None, list[str]]:
    """What a section comes to, and the problems in it."""
    source = Source(Path("/"), {})
    found = root(text, source).take(translation)
    return found, [str(problem) for problem in source.problems]


def test_an_empty_section_is_as_usual() -> None:
    assert read("") == (Translating(), [])
    assert read("budgets:\nremote_images: off") == (Translating(), [])


def test_every_line_reaches_its_field() -> None:
    text = """
enabled: no
lenient: yes
lenient_clients: [Curl*, '*agent*']
largest_reply: 1MiB
remote_images: {largest: 1MiB, most: 3, timeout: 5s, redirects: 0}
model_in_replies: upstream
wrap_custom: no
map_search: yes
orphan_results: yes
append_user_turn: yes
show_reasoning: no
system_tag: note
budgets: {low: 1500, max: 64_000}
longest_ttl: 12h
citations: no
"""
    found, faults = read(text)

    assert faults == []
    assert found == Translating(
        enabled=False,
        lenient=True,
        lenient_clients=("curl*", "*agent*"),
        largest_reply=2**20,
        remote_images=Fetching(2**20, 3, 5.0, 0),
        model_in_replies="upstream",
        rules=Rules(
            wrap_custom=False,
            map_search=True,
            orphan_results=True,
            append_user_turn=True,
            show_reasoning=False,
            system_tag="note",
            budgets=dict(Rules().budgets) | {"low": 1500, "max": 64_000},
            longest_ttl="12h",
            citations=False,
        ),
    )


def test_pictures_are_fetched_where_the_operator_says_so() -> None:
    """Off by default: whoever may send a URL could make the relay ask it."""
    assert Translating().remote_images is None
    for text, expected in (
        ("on", Fetching()),
        ("off", None),
        ("{redirects: 1}", Fetching(redirects=1)),
    ):
        found, _ = read(f"remote_images: {text}")
        assert found is not None and found.remote_images == expected


def test_no_client_need_be_lenient() -> None:
    found, faults = read("lenient_clients: []")

    assert (found, faults) == (Translating(lenient_clients=()), [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("enabld: no", "enabld: unknown name; did you mean 'enabled'?"),
        ("lenient: perhaps", "lenient: 'perhaps' is not true or false"),
        ("lenient_clients: [a, A]", "lenient_clients[1]: stands here twice"),
        ("lenient_clients: ['*']", "lenient_clients[0]: is every client: write `lenient: true`"),
        ("lenient_clients: ['']", "lenient_clients[0]: is not the beginning of a User-Agent"),
        ('lenient_clients: ["\\x07"]', "lenient_clients[0]: is not the beginning of a User-Agent"),
        ("lenient_clients: codex*", "lenient_clients: expected a list, found text"),
        ("largest_reply: 1kB", "largest_reply: must be between 65536 and 1073741824 bytes"),
        ("model_in_replies: mine", "model_in_replies: 'mine' is not one of asked, upstream"),
        ("remote_images: https", "remote_images: 'https' is not true or false"),
        ("remote_images: {largest: 0}", "remote_images.largest: must be between 1024 and"),
        ("remote_images: {hosts: []}", "remote_images.hosts: unknown name"),
        ("system_tag: 'a b'", "system_tag: 'a b' is not the name of a tag such as"),
        ("budgets: {lo: 2000}", "budgets.lo: is no effort: known are minimal, low, medium, high"),
        ("budgets: {none: 2000}", "budgets.none: is no effort"),
        ("budgets: {low: 1000}", "budgets.low: must be between 1024 and 10000000"),
        ("longest_ttl: 1h", "longest_ttl: '1h' is not one of 30m, 12h"),
    ],
)
def test_a_wrong_line_is_named_with_its_path_and_line(line: str, said: str) -> None:
    _, (problem,) = read(f"citations: on\n{line}")

    assert problem.startswith(f"line 2: {said}")
