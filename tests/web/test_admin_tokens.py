"""Admin tokens by the admin API: each opens it under its own name until it is refused."""

from __future__ import annotations

from tests.web.conftest import Counter


def test_a_new_token_opens_at_once_and_acts_under_its_name(ask: Counter) -> None:
    made = ask("POST", "/tokens", {"name": "ops"}, status=201)
    secret = made.pop("secret")
    assert secret.startswith("rat-")
    assert ask("GET", "/tokens")["data"] == [made]
    ask("POST", "/accounts", {"name": "alice"}, status=201, token=secret)
    newest = ask("GET", "/audit")
    assert newest["data"][0]["actor"] == "token:ops"
    assert secret not in str(newest)


def test_a_refused_token_opens_nothing_until_it_is_accepted_again(ask: Counter) -> None:
    secret = ask("POST", "/tokens", {"name": "ops"}, status=201)["secret"]
    for disabled, status in ((True, 401), (False, 200)):
        changed = ask("PATCH", "/tokens/ops", {"disabled": disabled})
        assert changed["disabled"] is disabled
        assert ask.desk.ask("GET", "/tokens", token=secret).status == status


def test_a_bad_token_changes_nothing(ask: Counter) -> None:
    ask("POST", "/tokens", {"name": "ops"}, status=201)
    assert ask.refused("POST", "/tokens", {"name": "ops"}, status=409)
    assert ask.refused("POST", "/tokens", {"name": "12"})
    assert ask.refused("PATCH", "/tokens/nobody", {"disabled": True}, status=404)
    assert ask.refused("PATCH", "/tokens/ops", {"name": "root"})
