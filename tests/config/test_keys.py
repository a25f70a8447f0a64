"""Where an upstream is and with which keys: addresses, keys, limits, proxies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayd.config.document import Source, root
from relayd.config.keys import (
    KeyLine,
    base_url,
    base_urls,
    keys,
    limits,
    proxy,
    upstream_keys,
)
from relayd.config.values import Reader
from relayd.model import KeyLimits, Proxy, Secret, UpstreamKey

NOT_AN_ADDRESS = "is not an address such as https://host/v1"
NOT_A_PROXY = "is not the address of a proxy such as http://host:3128 or socks5://host:1080"


def read(reader: Reader, text: str, folder: Path = Path("/etc")) -> tuple[Any, list[str]]:
    """What `a: <text>` comes to, and the problems in it."""
    source = Source(folder, {"SAME": "sk-same", "EMPTY": ""})
    found = root(f"a: {text}", source).members()["a"].take(reader)
    return found, [f"{problem.path}: {problem.message}" for problem in source.problems]


def problems(reader: Reader, text: str) -> list[str]:
    return read(reader, text)[1]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host", NOT_AN_ADDRESS),
        ("host/v1", NOT_AN_ADDRESS),
        ("https://", NOT_AN_ADDRESS),
        ("https://[::1", NOT_AN_ADDRESS),
        ("https://host:99999", NOT_AN_ADDRESS),
        ("https://host:0", NOT_AN_ADDRESS),
        ("https://user@host", "must not hold credentials: they belong into key or headers"),
        ("https://u:p@host", "must not hold credentials: they belong into key or headers"),
        ("https://@host", "must not hold credentials: they belong into key or headers"),
        ("https://host/v1?key=1", "must not hold a query or a fragment"),
        ("https://host/v1?", "must not hold a query or a fragment"),
        ("'https://host/v1#x'", "must not hold a query or a fragment"),
        ("https://host/a b", "holds a character that no address has"),
        ("https://hóst", "holds a character that no address has"),
        ("'https://host/\\x0d\\x0ax: y'", "holds a character that no address has"),
        ('"https://host/\\r\\nx: y"', "holds a character that no address has"),
    ],
)
def test_a_base_url_is_an_address_and_nothing_else(url: str, message: str) -> None:
    assert problems(base_url, url) == [f"a: {message}"]


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/chat/completions"),
        ("/v1/chat/completions/", "/chat/completions"),
        ("/v1/completions", "/completions"),
        ("/v1/messages", "/messages"),
        ("/v1/messages/count_tokens", "/messages/count_tokens"),
        ("/responses", "/responses"),
        ("/v1/embeddings", "/embeddings"),
        ("/v1/models", "/models"),
        ("/v1beta/models/any:generateContent", "/models/…"),
        ("/v1beta/models/any:streamGenerateContent", "/models/…"),
    ],
)
def test_a_base_url_that_ends_in_a_route_says_what_to_leave_out(path: str, route: str) -> None:
    assert problems(base_url, f"https://host{path}") == [
        f"a: is the address of one route: leave {route} out, it is added to each request"
    ]
    assert problems(base_url, f"https://host{path.rstrip('/')}x:8/v1") == []


def test_base_urls_are_different_and_at_least_one() -> None:
    assert read(base_urls, "['http://a/', 'https://b/v1']") == (("http://a", "https://b/v1"), [])
    assert problems(base_urls, "['http://a', b, 'http://a/']") == [
        f"a[1]: {NOT_AN_ADDRESS}",
        "a[2]: stands here twice",
    ]
    assert problems(base_urls, "[]") == [
        "a: names no address: write the primary first, then its backups"
    ]
    assert problems(base_urls, "http://a") == ["a: expected a list, found text"]


def test_a_key_is_a_secret_or_a_section(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-3\n")
    text = (
        "[sk-1, {key: sk-2, name: big, weight: 3, rpm: 4, tpm: 5, concurrency: 6}, {key_file: key}]"
    )

    assert read(keys, text, tmp_path) == (
        (
            KeyLine(Secret("sk-1"), "1"),
            KeyLine(Secret("sk-2"), "big", 3, {"rpm": 4, "tpm": 5, "concurrency": 6}),
            KeyLine(Secret("sk-3"), "3"),
        ),
        [],
    )


def test_empty_keys_keep_their_places_so_that_the_others_keep_their_names() -> None:
    found, faults = read(keys, "['${EMPTY}', sk-2, {key: '${EMPTY}', weight: 2}, '${EMPTY}']")

    assert faults == []
    assert [line.name for line in found] == ["1", "2", "3", "4"]
    assert upstream_keys(found, {}) == (UpstreamKey("2", Secret("sk-2")),)


def test_without_any_line_there_is_one_key_with_an_empty_secret() -> None:
    assert upstream_keys((), {"rpm": 3}) == (UpstreamKey("1", Secret(""), 1, KeyLimits(rpm=3)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", ["a: names no key: list secrets, or sections with a line `key:`"]),
        ("sk-1", ["a: expected a list, found text"]),
        ("['${SAME}', x, '${SAME}']", ["a[2]: is the same key as keys[0]"]),
        ("[{key: x, name: n}, {key: y, name: n}]", ["a[1]: keys[0] is called n too"]),
        ("[{key: x, name: '2'}, y]", ["a[1]: keys[0] is called 2 too"]),
        ("[{name: n}]", ["a[0]: needs a line `key:` or `key_file:`"]),
        ("[{key: x, name: a/b}]", ["a[0].name: a name is made of letters, digits, - and _"]),
        ("[{key: x, weight: 0}]", ["a[0].weight: must be between 1 and 1000000"]),
        ("[{key: x, rpm: 0}]", ["a[0].rpm: must be between 1 and 10000000"]),
        (
            "[{key: x, concurency: 1}]",
            ["a[0].concurency: unknown name; did you mean 'concurrency'?"],
        ),
        (
            "[{key: x, key_file: ''}]",
            ["a[0].key_file: key is given twice: keep key or key_file"],
        ),
        ("[[x]]", ["a[0]: expected a single value, found a list"]),
        ("[$KEY]", ["a[0]: is the name of a variable, not its value: write ${NAME}, in braces"]),
    ],
)
def test_what_is_wrong_with_keys_is_said_without_them(text: str, expected: list[str]) -> None:
    found = problems(keys, text)

    assert found == expected
    assert "sk-same" not in str(found)


def test_limits_are_only_what_is_written() -> None:
    assert read(limits, "{tpm: 7}") == ({"tpm": 7}, [])
    assert read(limits, "{}") == ({}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://host:3128", Proxy("http", "host", 3128)),
        ("http://host:3128/", Proxy("http", "host", 3128)),
        ("socks5://10.0.0.1:1080", Proxy("socks5", "10.0.0.1", 1080)),
        ("socks5h://host:1080", Proxy("socks5", "host", 1080)),
        ("socks5://[::1]:1080", Proxy("socks5", "::1", 1080)),
        ("http://u:p@host:1", Proxy("http", "host", 1, "u", Secret("p"))),
        ("http://a%40b:p%3A%2F@host:1", Proxy("http", "host", 1, "a@b", Secret("p:/"))),
        ("http://u@host:1", Proxy("http", "host", 1, "u")),
        ("${EMPTY}", None),
    ],
)
def test_proxies(text: str, expected: Proxy | None) -> None:
    assert read(proxy, f"'{text}'") == (expected, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://host:1", NOT_A_PROXY),
        ("socks4://host:1", NOT_A_PROXY),
        ("host:1080", NOT_A_PROXY),
        ("http://:1", NOT_A_PROXY),
        ("http://host:x", NOT_A_PROXY),
        ("http://h st:1", NOT_A_PROXY),
        ("http://host", "names no port: a proxy is written with one, as in http://host:3128"),
        ("http://host:0", "names no port: a proxy is written with one, as in http://host:3128"),
        ("http://host:1/x", "holds more than the address of a proxy"),
        ("http://host:1?x", "holds more than the address of a proxy"),
        ("http://host:1#", "holds more than the address of a proxy"),
        ("http://:p@host:1", "has a password, but no user name"),
        ("http://u%3Av:p@host:1", "has a user name with a colon, which no proxy takes"),
        (f"http://u:{'p' * 256}@host:1", "has a user name or password of more than 255 bytes"),
    ],
)
def test_what_is_no_proxy_is_refused_without_its_text(text: str, message: str) -> None:
    assert problems(proxy, f"'{text}'") == [f"a: {message}"]


def test_a_proxy_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("socks5://u:p@host:1080\n")

    assert read(proxy.from_file, "proxy", tmp_path) == (
        Proxy("socks5", "host", 1080, "u", Secret("p")),
        [],
    )
    assert read(proxy.from_file, "'${EMPTY}'") == (None, [])
