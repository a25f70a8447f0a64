"""Readers of single values: what each takes, and what it says about the rest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import pytest

from relayd.config.document import Place, Source, Wrong, root
from relayd.config.values import (
    Address,
    Reader,
    address,
    addresses,
    choice,
    fields,
    file_path,
    folder,
    is_one_of,
    number,
    record,
    seconds,
    secret,
    size,
    switch,
    token,
    whole,
)
from relayd.model import Secret


def value(text: str, environ: dict[str, str] | None = None, folder: str = "/etc/relayd") -> Place:
    """The place of the value in `a: <text>`."""
    return root(f"a: {text}", Source(Path(folder), environ or {})).members()["a"]


def read(reader: Reader, text: str) -> Any:
    return reader(value(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 10.0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("500ms", 0.5),
        ("10s", 10.0),
        ("5m", 300.0),
        ("1.5h", 5400.0),
        ("2d", 172800.0),
        ("'10 s'", 10.0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert read(seconds(), text) == expected


@pytest.mark.parametrize("text", ["-1", "10x", "ten", "1e3", ".inf", "nan", "true", "''", "1:30"])
def test_what_is_no_duration_is_quoted_back(text: str) -> None:
    with pytest.raises(Wrong, match="is not a duration such as 500ms, 10s, 5m or 1h"):
        read(seconds(), text)


def test_a_duration_has_bounds() -> None:
    with pytest.raises(Wrong, match=r"must be between 0\.001 and 60 seconds"):
        read(seconds(most=60), "0")
    with pytest.raises(Wrong, match=r"must be between 0\.001 and 60 seconds"):
        read(seconds(most=60), "61s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("65536", 65536),
        ("65_536", 65536),
        ("64KiB", 65536),
        ("1.5MiB", 1572864),
        ("1GiB", 2**30),
        ("500kB", 500_000),
        ("2MB", 2_000_000),
        ("1GB", 10**9),
        ("7B", 7),
        ("'64 MiB'", 64 * 2**20),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert read(size(), text) == expected


@pytest.mark.parametrize("text", ["-1", "64X", "64Mi", "64mib", "MiB", "true", "9" * 5000 + "x"])
def test_what_is_no_size_is_quoted_back(text: str) -> None:
    with pytest.raises(Wrong, match="is not a size such as 65536, 500kB or 64MiB"):
        read(size(), text)


@pytest.mark.parametrize("text", ["0", "5GiB", "9" * 300])
def test_a_size_has_bounds(text: str) -> None:
    with pytest.raises(Wrong, match="must be between 1 and"):
        read(size(), text)


def test_whole_numbers_have_bounds_and_no_fractions() -> None:
    assert read(whole(1, 10), "10") == 10
    for text in ("1.0", "0x10", "--1", "'-'", "٣", "9" * 5000, "yes"):
        with pytest.raises(Wrong, match="is not a whole number"):
            read(whole(1, 10), text)
    for text in ("11", "0", "-1"):
        with pytest.raises(Wrong, match=r"must be between 1 and 10$"):
            read(whole(1, 10), text)
    with pytest.raises(Wrong, match=r"must be between 1 and 1000000$"):
        read(whole(1, 1_000_000), "0")


def test_decimal_numbers_have_bounds_and_no_exponents() -> None:
    assert [read(number(0.0, 1.0), text) for text in ("0", "1", "0.25", ".5")] == [0, 1, 0.25, 0.5]
    for text in ("1e-1", ".inf", "nan", "0x1", "1,5", "yes", "9" * 5000):
        with pytest.raises(Wrong, match=r"is not a number such as 2 or 0\.5"):
            read(number(0.0, 1.0), text)
    for text in ("-0.1", "1.01"):
        with pytest.raises(Wrong, match=r"must be between 0 and 1$"):
            read(number(0.0, 1.0), text)


def test_switches_take_all_words_that_yaml_has_for_them() -> None:
    assert [read(switch, text) for text in ("true", "Yes", "on", "'true'")] == [True] * 4
    assert [read(switch, text) for text in ("false", "NO", "off")] == [False] * 3
    with pytest.raises(Wrong, match="'1' is not true or false"):
        read(switch, "1")


def test_a_choice_takes_on_and_off_as_words() -> None:
    assert read(choice("auto", "on", "off"), "on") == "on"
    with pytest.raises(Wrong, match="'true' is not one of auto, on, off"):
        read(choice("auto", "on", "off"), "true")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("'[::1]:8080'", Address("::1", 8080)),
        ("':8080'", Address("", 8080)),
        (":8080", Address("", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("relay.example.com:443", Address("relay.example.com", 443)),
        ("'[fe80::1%eth0]:1'", Address("fe80::1%eth0", 1)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert read(address, text) == expected
    assert address(value(f"'{expected}'")) == expected


@pytest.mark.parametrize(
    "text", ["8080", "127.0.0.1", "::1:8080", "host:port", "http://x:1", "'a b:1'", "'x:1\n'"]
)
def test_what_is_no_address_is_quoted_back(text: str) -> None:
    with pytest.raises(Wrong, match="is not an address such as"):
        read(address, text)


@pytest.mark.parametrize("port", ["65536", "1" * 5000])
def test_a_port_has_bounds(port: str) -> None:
    with pytest.raises(Wrong, match="the port must be between 0 and 65535"):
        read(address, f"x:{port}")


def test_one_address_is_a_list_of_one() -> None:
    assert read(addresses, "x:1") == (Address("x", 1),)
    assert read(addresses, "[x:1, y:1]") == (Address("x", 1), Address("y", 1))
    here = value("[x:1, y, x:1]")
    assert addresses(here) == (Address("x", 1),)
    assert [str(problem) for problem in here.source.problems] == [
        "line 1: a[1]: 'y' is not an address such as 127.0.0.1:8080 or '[::1]:8080'",
        "line 1: a[2]: stands here twice",
    ]
    with pytest.raises(Wrong, match="needs at least one address"):
        read(addresses, "[]")


def test_relative_paths_count_from_the_config_file() -> None:
    assert read(file_path, "x/y.db") == Path("/etc/relayd/x/y.db")
    assert read(file_path, "/x/y.db") == Path("/x/y.db")
    with pytest.raises(Wrong, match="is not a path"):
        read(file_path, "''")


def test_a_folder_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read(folder, str(tmp_path)) == tmp_path
    for name in ("missing", "file"):
        with pytest.raises(Wrong, match="is not a folder"):
            read(folder, str(tmp_path / name))


def test_a_secret_loses_outer_space_and_keeps_its_mouth_shut() -> None:
    found = secret(value("${A}", {"A": " sk-1\n"}))

    assert (found, repr(found)) == (Secret("sk-1"), "Secret(***)")
    with pytest.raises(Wrong) as caught:
        secret(value("${A}", {"A": "sk-1\r\nx: y"}))
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("text", ["$OPENAI_API_KEY", "$key", "$${KEY}"])
def test_a_secret_is_not_the_name_of_its_variable(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text + "\n" if text[1] != "$" else "${KEY}")

    for read_it, line in ((secret, text), (secret.from_file, "key")):
        with pytest.raises(Wrong, match=r"is the name of a variable, not its value: write \$"):
            read_it(value(line, folder=str(tmp_path)))
    assert secret(value("$1000bill")) == Secret("$1000bill")


def test_a_secret_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-1\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert secret.from_file(value("key", folder=str(tmp_path))) == Secret("sk-1")
    assert secret.from_file(value("${CREDENTIALS_DIRECTORY}/key", environ)) == Secret("sk-1")
    assert secret.from_file(value("${NONE:-}")) == Secret("")


@pytest.mark.parametrize("short", ["a", "fifteen-letters"])
def test_a_token_that_can_be_guessed_is_refused_unseen(short: str) -> None:
    with pytest.raises(Wrong, match="at least 16 characters") as caught:
        token(value(short))
    assert not {short, repr(short)} & {*str(caught.value).split()}
    assert token(value("sixteen-letters!")) == Secret("sixteen-letters!")
    assert token(value("''")) == Secret(""), "which opens nothing"


def test_a_secret_in_the_place_of_a_file_name_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(Wrong, match="the file sk-live-… cannot be read"):
        secret.from_file(value("sk-live-SECRET", folder=str(tmp_path)))
    with pytest.raises(Wrong, match=r"^[^S]*$"):
        secret(value("'${sk-live-SECRET}'"))


def test_a_secret_file_that_is_no_secret_is_refused_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("x" * 100_000)
    (tmp_path / "binary").write_bytes(b"sk-1\xff\x00")

    for name, message in {
        "none": "the file none cannot be read: No such file or directory",
        "large": "the file large is too large to be a secret",
        "binary": "holds a character that cannot stand in a header",
    }.items():
        with pytest.raises(Wrong, match=message) as caught:
            secret.from_file(value(name, folder=str(tmp_path)))
        assert "sk-1" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A record as in config.py."""

    wait: Annotated[float, seconds()] = 1.0
    token: Annotated[Secret, secret] = dataclasses.field(default_factory=lambda: Secret(""))
    kept: int = 3


def test_a_record_is_its_own_schema() -> None:
    assert read(record(Sample), "{wait: 2s}") == Sample(wait=2.0)
    assert read(record(Sample), "{}") == Sample()

    here = value("{wait: x, kept: 4, wiat: 1}")
    assert record(Sample)(here) == Sample()
    assert [str(problem) for problem in here.source.problems] == [
        "line 1: a.wait: 'x' is not a duration such as 500ms, 10s, 5m or 1h",
        "line 1: a.kept: unknown name; known are wait, token, token_file",
        "line 1: a.wiat: unknown name; did you mean 'wait'?",
    ]


def test_a_secret_and_its_file_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file")
    here = value("{token_file: token}", folder=str(tmp_path))
    assert record(Sample)(here) == Sample(token=Secret("from-file"))
    assert not here.source.problems

    both = value("{token: x, token_file: token}", folder=str(tmp_path))
    fields(both, {"token": secret})
    assert str(both.source.problems[0]) == (
        "line 1: a.token_file: token is given twice: keep token or token_file"
    )


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    assert read(is_one_of(["openai", "gemini"]), "openai") == "openai"
    with pytest.raises(Wrong, match="'opnai' is an unknown name; did you mean 'openai'"):
        read(is_one_of(["openai", "gemini"]), "opnai")
