"""The demo provider as an upstream of this very process, and a dead port beside it.

`demo-refused` cannot be played by a server: its upstream is a port that is bound and never listened
on, so that connecting to it is refused for as long as we live.
"""

from __future__ import annotations

import socket

from relayd.demo.names import PLAIN
from relayd.demo.provider import DemoProvider
from relayd.model import FormatName, ModelRule, Secret, UpstreamKey, UpstreamSpec

ALL_FORMATS: tuple[FormatName, ...] = ("chat", "responses", "messages", "gemini")
DEMO_KEY = "demo-provider-key"


class EmbeddedDemo:
    """Runs a demo provider on loopback. Owns its server and the dead port."""

    def __init__(self) -> None:
        self.provider = DemoProvider(key=DEMO_KEY)
        self._dead = socket.socket()

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._dead.bind(("127.0.0.1", 0))
        await self.provider.start("127.0.0.1", 0)

    async def close(self) -> None:
        """Stop."""
        self._dead.close()
        await self.provider.close()

    def specs(self, *, alone: bool) -> list[UpstreamSpec]:
        """The upstreams it stands for.

        Arguments:
            alone: there is no other upstream, so it answers for any model name.
        """
        anything = (ModelRule("*"),) if alone else (ModelRule("demo-*"),)
        plain = tuple(ModelRule(name) for name in PLAIN)
        dead_url = f"http://127.0.0.1:{self._dead.getsockname()[1]}"
        return [
            _spec("demo", self.provider.url, plain + anything),
            _spec("demo-dead-port", dead_url, (ModelRule("demo-refused"),)),
        ]


def _spec(name: str, url: str, models: tuple[ModelRule, ...]) -> UpstreamSpec:
    return UpstreamSpec(
        name=name,
        dialect="demo",
        base_urls=(url,),
        keys=(UpstreamKey("1", Secret(DEMO_KEY)),),
        models=models,
        formats=ALL_FORMATS,
    )
