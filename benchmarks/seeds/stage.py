"""A relay of our own for the seeds: `relayd serve` and a fake provider, two real processes.

The fake stands for three vendors, each of which speaks its own formats only, under the pages' model
names: so a page that asks a Claude model in Gemini's format is answered by translation. There is an
account for each kind of key that the pages tell about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from benchmarks.kill.site import Program
from benchmarks.processes import free_port
from relayd.money import DOLLAR
from relayd.store.questions import NewKey
from relayd.store.sqlite import SqliteStore

PROVIDER_KEY: Final = "provider-key"
CONFIG: Final = """\
listen: 127.0.0.1:{port}
database: {folder}/relayd.db
demo: "off"
drain_timeout: 3s
routing: {{retries: {{attempts: 1}}, breaker: {{enabled: off}}, waiting: {{timeout: 0}}}}
defaults: {{chat: {{model: gemini-2.5-flash}}}}
prices: {{"*": {{input: 2.5, output: 10}}}}
groups:
  prepaid: {{balance: on}}
  hurried: {{rpm: 1}}
  texts: {{endpoints: [chat, embeddings]}}
  hidden: {{endpoints: [chat, embeddings], hide_endpoints: true}}
upstreams:
  openai:
    dialect: demo
    base_url: http://127.0.0.1:{provider}
    key: {provider_key}
    formats: [chat, responses]
    models:
      gpt-5.4: gpt-5.4
      gpt-5.5: gpt-5.5
      gpt-4o: gpt-4o
      gpt-4o-mini: gpt-4o-mini
      text-embedding-3-small: text-embedding-3-small
      gpt-image-1: gpt-image-1
      gpt-image-2: gpt-image-2
      broken-model: demo-500
  anthropic:
    dialect: demo
    base_url: http://127.0.0.1:{provider}
    key: {provider_key}
    formats: [messages]
    models: [claude-sonnet-4-6]
  google:
    dialect: demo
    base_url: http://127.0.0.1:{provider}
    key: {provider_key}
    formats: [gemini]
    models: [gemini-2.5-flash, gemini-2.0-flash, gemini-3-pro-preview, gemini-3-pro-image-preview]
"""


class Owner(NamedTuple):
    """Whose key it is: the group of the account, and the dollars it was granted."""

    group: str
    dollars: int = 0


OWNERS: Final = {
    "main": Owner("default", 100),
    "poor": Owner("prepaid"),
    "hurried": Owner("hurried"),
    "texts": Owner("texts"),
    "hidden": Owner("hidden"),
}


class Stage:
    """The two processes, and the keys. Ends with the `with` block.

    Arguments:
        folder: for the configuration, the database and what the processes say.
    """

    def __init__(self, folder: Path) -> None:
        port, provider = free_port(), free_port()
        self.base = f"http://127.0.0.1:{port}"
        config = folder / "config.yaml"
        config.write_text(
            CONFIG.format(port=port, folder=folder, provider=provider, provider_key=PROVIDER_KEY)
        )
        self.keys: Mapping[str, str] = asyncio.run(_keys(folder / "relayd.db"))
        demo = ["-m", "relayd.demo", "--listen", f"127.0.0.1:{provider}", "--key", PROVIDER_KEY]
        self._provider = Program(demo, folder / "provider.log")
        serve = ["-m", "relayd", "serve", "--config", str(config)]
        self._relay = Program(serve, folder / "relay.log")
        try:
            self._provider.wait_for_port(provider)
            self._relay.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Stage {self.base} {self._relay!r}>"

    def close(self) -> None:
        """End both processes."""
        self._relay.kill()
        self._provider.kill()


async def _keys(database: Path) -> dict[str, str]:
    """A key for each owner, in a new database."""
    store = await SqliteStore.open(database)
    try:
        secrets = {"bad": "sk-this-is-no-key"}
        for name, owner in OWNERS.items():
            await store.create_account(name, owner.group, now=0.0, actor="seeds")
            _, secrets[name] = await store.create_key(NewKey(name, name), now=0.0, actor="seeds")
            if owner.dollars:
                amount = owner.dollars * DOLLAR
                await store.add_credit(
                    name, amount, kind="grant", reason="for the seeds", actor="seeds", now=0.0
                )
        return secrets
    finally:
        await store.close()
