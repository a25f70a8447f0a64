"""No request of the seed pages is missing from the restated ones, and none is made up.

The pages lie beside the checkout, where there are any; without them only the reading is tested.
"""

from __future__ import annotations

import pytest

from benchmarks.seeds.pages import command_of, commands, named_routes, pages, statuses
from benchmarks.seeds.printed import SNIPPETS, load

PAGE = """\
Check Balance
Query it.Curl
curl 'https://a.example/api/v1/credits' \\
-H 'Authorization: Bearer <authcode>'
{
"data": {}
}
Chat
curl -N --location "https://a.example/v1/models/gem(or other models):go?alt=sse" \\
  --header "Authorization: Bearer $YOUR_API_KEY" -X POST \\
  --data '{"a": {"b": "}'{"}, "c": "\\"}"}
More text, -H "X: y"
curl https://a.example/v1/images/edits \\
  -F "model=m" \\
  -F "image=@input.png"
| GET /api/status | 401Invalid | 5xxUpstream | or 404. | 4045 | 2.429 | gpt-401 |
"""

SEEDS = load()
NUMBERS = sorted({seed.page for seed in SEEDS})


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    found = pages()
    if not found:
        pytest.skip("the seed pages are not beside this checkout")
    return found


def test_commands_are_found_with_all_that_they_send() -> None:
    balance, chat, edit = commands(PAGE)
    assert balance == ("GET", "/api/v1/credits", {"Authorization": "Bearer <key>"}, None, None)
    assert chat.path == "/v1/models/gem(or other models):go?alt=sse"
    assert (chat.method, chat.headers) == ("POST", {"Authorization": "Bearer <key>"})
    assert chat.body == {"a": {"b": "}'{"}, "c": '"}'}
    assert edit.form == {"model": "m", "image": "@input.png"}
    assert edit.method == "POST"


def test_routes_and_statuses_are_found_in_the_text() -> None:
    assert named_routes(PAGE) == {("GET", "/api/status")}
    assert statuses(PAGE) == {"401", "404", "5xx"}


def test_every_page_is_restated(texts: dict[str, str]) -> None:
    assert sorted(texts) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_every_printed_command_is_restated_and_no_other(texts: dict[str, str], number: str) -> None:
    restated = [command_of(seed) for seed in SEEDS if seed.page == number and seed.curl]
    assert restated == commands(texts[number])


@pytest.mark.parametrize("number", NUMBERS)
def test_every_route_and_every_error_that_a_page_names_is_asked(
    texts: dict[str, str], number: str
) -> None:
    asked = [seed for seed in SEEDS if seed.page == number]
    assert named_routes(texts[number]) <= {(seed.method, seed.path) for seed in asked}
    # "Internal server error" and "the provider is down" reach a client as one of the same hundred.
    promised = {str(seed.promise.status) for seed in asked} | {"500"}
    assert statuses(texts[number]) <= promised


def test_every_seed_comes_from_words_of_its_page(texts: dict[str, str]) -> None:
    for seed in SEEDS:
        assert seed.printed in texts[seed.page], seed.name
        assert seed.curl or seed.said or seed.snippet, seed.name


@pytest.mark.parametrize("name", ["chat.py.txt", "chat.js.txt"])
def test_a_snippet_is_printed_word_for_word(texts: dict[str, str], name: str) -> None:
    words = (SNIPPETS / name).read_text().split()
    assert " ".join(words) in " ".join(texts["002"].split())
    assert texts["002"].count("fetch(") == texts["002"].count("OpenAI(") == 1
