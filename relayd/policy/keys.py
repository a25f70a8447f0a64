"""Who is calling: from the secret in a request to the key it belongs to, and what that key may do.

A directory is a snapshot of all keys, built once and replaced whole when the store or the groups
changed; a lookup is one hash and one dict access, with no wait and no lock. Secrets are not kept:
keys are found by the SHA-256 of what the client sent. The digest found is compared again in
constant time, so that nothing rests on how a dict compares. No message repeats any part of the
secret: error texts travel into logs, and tickets.

What a key may do is what its account's group allows, narrowed by the key: names and networks are
compiled once, when the directory is built. What cannot be understood closes: an account whose group
is not configured may do nothing, a network that is none matches no address; `problems` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import compare_digest
from ipaddress import (
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from relayd.accounts import DEFAULT_GROUP, ENDPOINTS, Account, Endpoint, Group, Key
from relayd.errors import Refused
from relayd.model import Operation
from relayd.policy.globs import Glob

Network = IPv4Network | IPv6Network

ENDPOINT_OF: Mapping[Operation, Endpoint] = {
    "generate": "chat",
    "count_tokens": "chat",
    "embed": "embeddings",
    "image": "images",
    "speech": "audio",
    "transcribe": "audio",
    "moderate": "chat",
    "rerank": "embeddings",
    "follow_up": "chat",
    "realtime": "realtime",
    "other": "passthrough",
}
LONGEST_SHOWN = 256  # of a model's name in a message


class Names:
    """Model names and wildcards, taken apart once."""

    __slots__ = ("_every", "_exact", "_globs", "patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self._every = "*" in patterns
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._globs = tuple(Glob(pattern) for pattern in patterns if "*" in pattern)

    def __repr__(self) -> str:
        return f"Names({', '.join(self.patterns)})"

    def __contains__(self, name: str) -> bool:
        if self._every or name in self._exact:
            return True
        return any(glob.match(name) is not None for glob in self._globs)


class Caller:
    """A key with its account and group, and all that they allow, ready to be asked."""

    __slots__ = (
        "_endpoints",
        "_models",
        "_narrowed",
        "_networks",
        "account",
        "group",
        "has_every_endpoint",
        "key",
    )

    def __init__(
        self, key: Key, group: Group, models: Names, networks: tuple[Network, ...] | None
    ) -> None:
        self.key = key
        self.account: Account = key.account
        self.group = group
        self._models = models
        self._narrowed = Names(key.models) if key.models else None
        self._networks = networks
        allowed = frozenset(group.endpoints)
        self._endpoints = allowed & frozenset(key.endpoints) if key.endpoints else allowed
        self.has_every_endpoint = self._endpoints.issuperset(ENDPOINTS)

    def __repr__(self) -> str:
        return f"Caller({self.key.name!r} of {self.account.name!r}, group {self.group.name!r})"

    @property
    def id(self) -> int:
        """The key's id, which rows are written with."""
        return self.key.id

    @property
    def is_limited(self) -> bool:
        """Whether there is a rate to tell of, in requests or tokens a minute."""
        key, group = self.key.limits, self.group.limits
        return (key.rpm or key.tpm or group.rpm or group.tpm) is not None

    def allows(self, model: str) -> bool:
        """Whether both the group and the key let this model through."""
        return model in self._models and (self._narrowed is None or model in self._narrowed)

    def check_model(self, model: str) -> None:
        """Raises Refused (404), in the words for a model that does not exist, if not `allows`."""
        if not self.allows(model):
            raise Refused(
                f"The model `{model[:LONGEST_SHOWN]}` does not exist or you do not have access"
                " to it.",
                status=404,
                code="model_not_found",
                param="model",
            )

    def endpoint_allowed(self, endpoint: Endpoint) -> bool:
        return endpoint in self._endpoints

    def check_endpoint(self, endpoint: Endpoint) -> None:
        """Raises Refused if the endpoint is not among those of the group and the key: 403, or 404
        where the group hides what is not allowed."""
        if endpoint in self._endpoints:
            return
        if self.group.hide_endpoints:
            raise Refused(
                "This endpoint does not exist or you do not have access to it.",
                status=404,
                code="unknown_url",
            )
        why = (
            "" if endpoint in self.group.endpoints else ": its account's group does not include it"
        )
        raise Refused(
            f"This API key may not be used for {endpoint}{why}.",
            status=403,
            code="endpoint_not_allowed",
        )

    def check(self, moment: float, address: str) -> None:
        """Raises Refused: 401 when disabled or expired, 403 for a foreign address."""
        key = self.key
        if key.disabled:
            raise Refused("This API key is disabled.")
        if self.account.disabled:
            raise Refused("The account of this API key is disabled.")
        if key.expires_at is not None and key.expires_at <= moment:
            raise Refused("This API key has expired.")
        if self._networks is not None and not _within(address, self._networks):
            raise Refused(
                "This API key may not be used from your address.",
                status=403,
                code="address_not_allowed",
            )
        if self.group is UNKNOWN_GROUP:
            raise Refused(
                "The account of this API key has no access: its group is not configured.",
                status=403,
                code="group_unknown",
            )


# What an account may do whose group is not in the configuration: nothing.
UNKNOWN_GROUP = Group("(unknown)", models=(), endpoints=())


class Directory:
    """All keys at one moment. Never changed after it is built.

    Arguments:
        keys: all of them, disabled ones too.
        groups: those of the configuration.
    """

    __slots__ = ("_callers", "_count", "problems")

    def __init__(self, keys: Iterable[Key], groups: Iterable[Group] = (DEFAULT_GROUP,)) -> None:
        self.problems: list[str] = []
        known = {group.name: (group, Names(group.models)) for group in groups}
        callers = [self._caller(key, known) for key in keys]
        self._count = len(callers)
        # Old secrets first: should two ever be equal, the one in use is the one that counts.
        self._callers = {c.key.old_digest: c for c in callers if c.key.old_digest is not None}
        self._callers |= {caller.key.digest: caller for caller in callers}

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        keys = [caller.key for caller in self.callers()]
        usable = sum(not (key.disabled or key.account.disabled) for key in keys)
        return f"Directory({self._count} keys, {usable} usable)"

    def callers(self) -> set[Caller]:
        """All of them, each once."""
        return set(self._callers.values())

    def find(self, secret: str, *, moment: float = 0.0, address: str = "") -> Caller:
        """The caller whose secret this is.

        Arguments:
            moment: Unix seconds, for what expires.
            address: the client's, for keys that are bound to networks.

        Raises Refused: 401 when there is none, or it or its account is disabled, or it expired;
        403 for an address that is not allowed, or an account that has no group.
        """
        # surrogatepass: header bytes that are no UTF-8 arrive as lone surrogates and are just
        # wrong.
        digest = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        caller = self._callers.get(digest)
        if caller is None or not _opens(digest, caller.key, moment):
            raise Refused(_UNKNOWN if secret else _MISSING)
        caller.check(moment, address)
        return caller

    def _caller(self, key: Key, known: Mapping[str, tuple[Group, Names]]) -> Caller:
        name = key.account.group
        if name not in known:
            whose = f"account {key.account.name!r}"
            self._note(f"{whose}: there is no group {name!r}; its keys may do nothing")
        group, models = known.get(name, (UNKNOWN_GROUP, _NO_NAMES))
        return Caller(key, group, models, self._networks(key) if key.addresses else None)

    def _networks(self, key: Key) -> tuple[Network, ...]:
        found: list[Network] = []
        for text in key.addresses:
            try:
                found.append(ip_network(text, strict=False))
            except ValueError:
                self._note(f"key {key.name!r}: {text!r} is no network; it matches no address")
        return tuple(found)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def _opens(digest: bytes, key: Key, moment: float) -> bool:
    """Whether the digest is that of the key's secret, or of the one before while it counts."""
    if compare_digest(digest, key.digest):
        return True
    old = key.old_digest
    return old is not None and compare_digest(digest, old) and moment < key.old_until


def _within(text: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


_NO_NAMES = Names(())
_UNKNOWN = "Incorrect API key provided."
_MISSING = (
    "No API key provided. Send it as `Authorization: Bearer KEY`"
    " (`x-api-key` and `x-goog-api-key` are accepted too)."
)
