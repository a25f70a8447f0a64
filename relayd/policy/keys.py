"""Who is calling: from the secret in a request to the key it belongs to.

A directory is a snapshot of all keys, built once and replaced whole when the store says that keys
changed; a lookup is one hash and one dict access, with no wait and no lock. Secrets are not kept:
keys are found by the SHA-256 of what the client sent. The digest found is compared again in
constant time, so that nothing rests on how a dict compares. No message repeats any part of the
secret: error texts travel into logs, and tickets.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest

from relayd.errors import Refused
from relayd.model import Key


class Directory:
    """All keys at one moment. Never changed after it is built."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.digest: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        usable = sum(not (key.disabled or key.account.disabled) for key in self._keys.values())
        return f"Directory({len(self._keys)} keys, {usable} usable)"

    def find(self, secret: str) -> Key:
        """The key whose secret this is.

        Raises Refused (401) when there is none, or it or its account is disabled.
        """
        # surrogatepass: header bytes that are no UTF-8 arrive as lone surrogates and are just
        # wrong.
        digest = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        key = self._keys.get(digest)
        if key is None or not compare_digest(digest, key.digest):
            raise Refused(_UNKNOWN if secret else _MISSING)
        if key.disabled:
            raise Refused("This API key is disabled.")
        if key.account.disabled:
            raise Refused("The account of this API key is disabled.")
        return key


_UNKNOWN = "Incorrect API key provided."
_MISSING = (
    "No API key provided. Send it as `Authorization: Bearer KEY`"
    " (`x-api-key` and `x-goog-api-key` are accepted too)."
)
