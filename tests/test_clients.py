"""Settings of clients: what the file may say, and how address, key and model are filled in."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import orjson
import pytest
import yaml

from relayd import clients
from relayd.clients import SOME_BASE, SOME_KEY, Client, File, Place, Setup

# What people point at relays; each has an entry.
EXPECTED = {
    *("claude-code", "codex", "gemini-cli", "opencode", "llm", "curl"),
    *("openai-python", "anthropic-python", "google-python"),
    *("openai-node", "anthropic-node", "google-node"),
    *("langchain", "pydantic-ai", "vercel-ai", "litellm", "instructor"),
    *("cherry-studio", "chatbox", "lobechat", "open-webui", "cursor", "cline", "roo-code"),
}
PLACE = Place("https://relay.test", "sk-relayd-1", "some/model-1")
ALL = [clients.filled(client, PLACE) for client in clients.shipped().values()]
WAYS = [(client, setup) for client in ALL for setup in client.setups]
way = pytest.mark.parametrize(("client", "setup"), WAYS, ids=lambda one: getattr(one, "name", ""))


def texts(setup: Setup) -> list[str]:
    """All that a setup says."""
    values = [*(setup.env or {}).values(), *(setup.fields or {}).values()]
    return [*values, *(file.text for file in setup.files), *setup.steps, setup.run]


def test_every_client_that_people_use_is_there() -> None:
    assert clients.shipped().keys() == EXPECTED
    assert {client.kind for client in ALL} == set(clients.KINDS)
    assert all(client.model == "some/model-1" for client in ALL)


@way
def test_a_setup_names_address_and_key_and_leaves_no_gap(client: Client, setup: Setup) -> None:
    said = "\n".join(texts(setup))
    assert "https://relay.test" in said
    assert "sk-relayd-1" in said
    assert not re.search(r"\{(base|key|model)\}", said)
    assert len(said) < 4000


@way
def test_an_address_ends_as_its_client_wants_it(client: Client, setup: Setup) -> None:
    """No /v1 twice, and none that is not closed by what stands around it."""
    ends = re.findall(r"https://relay\.test([\w/.:-]*)", "\n".join(texts(setup)))
    assert set(ends) <= {
        *("", "/v1", "/v1beta", "/v1/chat/completions", "/v1/responses", "/v1/messages"),
        "/v1beta/models/some/model-1:generateContent",
    }


@way
def test_files_and_commands_can_be_read_by_whom_they_are_for(client: Client, setup: Setup) -> None:
    readers: dict[str, Any] = {
        "json": orjson.loads,
        "toml": tomllib.loads,
        "yaml": yaml.safe_load,
        "py": lambda text: compile(text, "ask.py", "exec"),
        "mjs": str,
    }
    for file in setup.files:
        assert readers[file.path.rpartition(".")[2]](file.text)
        assert not file.path.startswith("/")
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*", name) for name in setup.env or {})


@pytest.mark.parametrize("client", ALL, ids=lambda client: client.name)
def test_a_client_of_several_ways_says_which_is_which(client: Client) -> None:
    titles = [(setup.format, setup.title) for setup in client.setups]
    assert len(set(titles)) == len(titles)
    assert len(titles) == 1 or all(title for _, title in titles)
    assert all(note.endswith(".") for note in client.notes)
    assert all(step.endswith(".") for setup in client.setups for step in setup.steps)


def test_without_a_model_each_client_has_its_own() -> None:
    known = clients.shipped()["claude-code"]
    assert clients.filled(known, Place()).setups[0].env == {
        "ANTHROPIC_BASE_URL": SOME_BASE,
        "ANTHROPIC_AUTH_TOKEN": SOME_KEY,
        "ANTHROPIC_MODEL": known.model,
    }


def test_other_braces_stay() -> None:
    setup = Setup("chat", files=(File("a.py", 'f"{name}" {key} {{base}}'),))
    client = Client("x", "X", "library", "m", (setup,))
    [filled] = clients.filled(client, PLACE).setups
    assert filled.files[0].text == 'f"{name}" sk-relayd-1 {https://relay.test}'


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://a.test", "https://a.test"),
        ("https://a.test/", "https://a.test"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("https://a.test/relay/v1beta", "https://a.test/relay"),
        ("https://a.test/api/v1", "https://a.test"),
        (" http://[::1]:80 ", "http://[::1]:80"),
    ],
)
def test_an_address_is_kept_without_its_version(given: str, kept: str) -> None:
    assert Place(given).base == kept


@pytest.mark.parametrize(
    "given",
    [
        *("", "relay.test", "ftp://a", "https://", "https://u:p@a.test", "https://a.test:0"),
        *("https://a.test:99999", 'https://a.test/"', "https://a.test/$(id)", "https://[::1"),
        *("https://a.test/?key=1", "https://a.test/" + "a" * 300),
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Place(given)


@pytest.mark.parametrize("value", ["a'b", 'a"b', "a b", "a\\b", "$x", "`x`", "ü", "a\n", "x" * 257])
def test_what_would_break_out_of_its_quotes_is_refused(value: str) -> None:
    for wrong in ({"key": value}, {"model": value}):
        with pytest.raises(ValueError, match="letters, digits") as caught:
            Place(**wrong)
        assert value not in str(caught.value)
    with pytest.raises(ValueError):
        Place(key="")


def test_a_place_does_not_show_its_key() -> None:
    assert "sk-" not in repr(PLACE)


@pytest.mark.parametrize(
    "text",
    [
        "x: {title: X, kind: toy, model: m, setups: [{format: chat}]}",
        "x: {title: X, kind: app, model: m, setups: []}",
        "x: {title: X, kind: app, model: m, setups: [{format: soap}]}",
        "x: {title: X, kind: app, model: m, setups: [{format: chat, color: red}]}",
        "x: {title: X, kind: app, model: m, colour: red, setups: [{format: chat}]}",
    ],
)
def test_a_file_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        clients.read(text)


def test_programs_get_no_empty_fields() -> None:
    document = clients.document(clients.shipped()["curl"])
    assert document.keys() == {"name", "title", "kind", "model", "setups"}
    assert document["setups"][0].keys() == {"format", "title", "run"}
    assert orjson.loads(orjson.dumps(document)) == document
