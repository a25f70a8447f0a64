"""What a reload does to the connections: upstreams that are as they were keep theirs.

The others retire: requests in flight end with them, and with the last of those their keys go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relayd.model import UpstreamSpec
from relayd.upstream.provider import Provider


def renewed(old: Mapping[str, Provider], specs: Iterable[UpstreamSpec]) -> dict[str, Provider]:
    """The providers of these upstreams by name: the old one wherever nothing has changed."""
    kept = {provider.spec.name: provider for provider in old.values()}
    return {
        spec.name: provider
        if (provider := kept.get(spec.name)) is not None and provider.spec == spec
        else Provider(spec)
        for spec in specs
    }


class Retired:
    """Providers that take no new request any more. Owned by the daemon."""

    def __init__(self) -> None:
        self._providers: list[Provider] = []

    def __repr__(self) -> str:
        return f"<Retired {len(self._providers)}>"

    def take(self, providers: Iterable[Provider]) -> None:
        """Let these end what they have under way; forget those that have."""
        self._providers = [provider for provider in self._providers if provider.connections]
        for provider in providers:
            provider.retire()
            self._providers.append(provider)

    async def close(self) -> None:
        """Hang up, whatever is under way."""
        for provider in self._providers:
            await provider.close()
