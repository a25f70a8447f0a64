"""The output of a Responses reply as it grows: items, one after the other, and the events' numbers.

An item is told when it begins and once more when it is done; the last event of a stream repeats all
that are done. An item that has an `Item` may have more parts than the first, so it stays open until
the next one begins.
"""

from __future__ import annotations

import orjson

from relayd.wire import envelope, ids
from relayd.wire.parts import Carrier, Document, Item, Part
from relayd.wire.setting import Coming


class Output:
    """The items of one reply. Owns them, and the number of the next event.

    Attributes:
        items: those that are done.
        open: the one that has begun, None between two.
        sequence: the number of the next event.
    """

    __slots__ = ("_coming", "_joined", "items", "open", "sequence")

    def __init__(self, coming: Coming) -> None:
        self._coming = coming
        self.items: list[Document] = []
        self.open: Document | None = None
        self._joined: Item | None = None
        self.sequence = 0

    def __repr__(self) -> str:
        kind = self.open["type"] if self.open is not None else None
        return f"<Output done={len(self.items)} open={kind} sequence={self.sequence}>"

    def event(self, kind: str, said: Document) -> bytes:
        """The bytes of one event."""
        event = {"type": kind, "sequence_number": self.sequence, **said}
        self.sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(event))

    def begin(self, item: Document, joined: Item | None = None) -> bytes:
        """An item begins, and the one before it is done."""
        before = self.end()
        self.open, self._joined = item, joined
        item |= self._own() | ({"status": "in_progress"} if "status" in item else {})
        said = {"output_index": len(self.items), "item": item}
        return before + self.event("response.output_item.added", said)

    def end(self) -> bytes:
        """The open item is done, if there is one."""
        item = self.open
        if item is None:
            return b""
        if item.get("status") == "in_progress":
            item["status"] = "completed"
        item |= self._own()
        said = {"output_index": len(self.items), "item": item}
        self.open = self._joined = None
        self.items.append(item)
        return self.event("response.output_item.done", said)

    def end_unless_joined(self) -> bytes:
        """The open item is done where no more parts can belong to it."""
        return self.end() if self._joined is None else b""

    def whole(self, item: Document) -> bytes:
        """An item at once."""
        before = self.end()
        self.open = item
        said = {"output_index": len(self.items), "item": item}
        return before + self.event("response.output_item.added", said) + self.end()

    def takes(self, part: Part, kind: str) -> bool:
        """Whether `part` belongs to the item that is open."""
        if self.open is None or self.open["type"] != kind:
            return False
        return part.item is not None and part.item is self._joined

    def id(self, prefix: str, part: Part) -> str:
        """The id of an item that is about to begin."""
        if part.item is not None and part.item.id and not self._coming.sealed:
            return part.item.id
        number = len(self.items) + (self.open is not None)
        return ids.minted(prefix, self._coming.request_id, number)

    def where(self) -> Document:
        """The open item, for events about it."""
        assert self.open is not None
        return {"item_id": self.open["id"], "output_index": len(self.items)}

    def place(self, member: str) -> Document:
        """Where the next part of the open item stands, for events about it."""
        assert self.open is not None
        listed = self.open.setdefault(member, [])
        name = "summary_index" if member == "summary" else "content_index"
        return self.where() | {name: len(listed)}

    def thinking(self, part: Part, carrier: Carrier | None) -> Document:
        """A reasoning item that begins; with a carrier it is one that says nothing else."""
        item: Document = {"type": "reasoning", "id": self.id("rs_", part), "summary": []}
        return item | ({"encrypted_content": self.sealed(carrier)} if carrier is not None else {})

    def sealed(self, carrier: Carrier) -> str:
        """What clients send back unread: the provider's own, or an envelope around another's."""
        if not self._coming.sealed:
            return carrier.payload
        return envelope.wrap(carrier, self._coming.scope)

    def _own(self) -> Document:
        """What the open item is beside its content, for clients of its own format."""
        if self._joined is None or self._coming.sealed:
            return {}
        return {name: extra.value for name, extra in self._joined.extra.items()}
