"""Realtime sessions of the demo provider: a WebSocket that speaks OpenAI's events.

It says `session.created`, keeps the sizes of what it is told, and answers `response.create` with
the events of one response: text, or with the modality `audio` a tone and its transcript. With
`demo-vad` in the model's name it answers every committed input by itself; it transcribes that where
the session names a model for it. Usage is counted as
everywhere in the demo; of a later response, what was said before is cached.

Parts of model names do here what they do elsewhere (`demo-429`, `demo-slow-first-byte`, `demo-cut`,
`demo-reset`, `demo-stall`, `demo-garbage`, `demo-no-usage`, `demo-error-in-stream`,
`demo-chunks-N`, `demo-at-R`), and some are of sessions alone: `demo-flood` says one event after
another as long as anybody takes them, `demo-closes-4000` closes with that code after a response,
`demo-huge-event` says one of 4 MB.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from relayd.demo.ask import Document
from relayd.demo.frames import CLOSE, PING, PONG, TEXT, Broken, Incoming, closing, frame
from relayd.demo.handshake import agreement
from relayd.demo.memory import Memory, heard_usage
from relayd.demo.names import Name, parse
from relayd.demo.routes import Request

_CLOSES: Final = re.compile(r"-closes-(\d{4})(?=-|$)")
_MOST_CHUNKS: Final = 100_000
_LONGEST_QUOTE: Final = 200
# A tenth of a second of silence: 24 kHz, 16 bits.
_SOUND: Final = base64.b64encode(bytes(4800)).decode()
_FLOOD: Final = 64 * 1024  # bytes of an event of a flood


def _ears_in(session: object) -> str:
    """The model that a session wants its input transcribed by."""
    found: Any = session
    for name in ("audio", "input", "transcription", "model"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


class Session:
    """One session. Owns its timer, and what it knows of the conversation.

    Arguments:
        request: the handshake.
        model: what answers.
    """

    def __init__(
        self,
        request: Request,
        model: str,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._model = model
        self._name: Name = parse(model)
        self._transport = transport
        self._loop = loop
        self._incoming = Incoming()
        self._timer: asyncio.TimerHandle | None = None
        self._steps: Iterator[Document | bytes | None] | None = None
        self._full = False
        self._number = 0
        self._responses = 0
        self._modality = "text"
        self._said = ""  # what the user said last
        self._memory = Memory()
        self._ears = ""  # the model that transcribes what is said
        self._head = agreement(request)
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "speaking" if self._steps else "listening"
        return f"Session({self._model}, {state}, {self._responses} responses)"

    @property
    def speaking(self) -> bool:
        """Whether a response is under way."""
        return self._steps is not None

    # the connection's calls

    def open(self) -> None:
        """Agree, and begin."""
        if self._name.has("slow-first-byte"):
            wait = self._name.number("slow-first-byte", 3.0, 600.0)
            self._timer = self._loop.call_later(wait, self._begin)
        else:
            self._begin()

    def feed(self, data: bytes) -> None:
        """Take what the client says."""
        if self.closed:
            return
        try:
            messages = self._incoming.feed(data)
        except Broken:
            self._close(1002)
            return
        for message in messages:
            if message.opcode == CLOSE:
                code = int.from_bytes(message.payload[:2], "big") if message.payload else 1000
                self._close(code)
                return
            if message.opcode == PING:
                self._transport.write(frame(PONG, message.payload))
            elif message.opcode == TEXT:
                self._hear(message.payload)

    def pause(self) -> None:
        """The client takes no more for now."""
        self._full = True

    def resume(self) -> None:
        """It does again."""
        self._full = False
        if self._steps is not None and self._timer is None:
            self._go_on()

    def end(self) -> None:
        """Stop; the connection is gone."""
        self.closed = True
        self._steps = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # what it hears

    def _begin(self) -> None:
        self._timer = None
        self._transport.write(self._head)
        session = {
            "type": "realtime",
            "object": "realtime.session",
            "id": "sess_demo",
            "model": self._model,
            "output_modalities": [self._modality],
        }
        self._say({"type": "session.created", "session": session})
        if self._name.has("garbage"):
            self._transport.write(b"\xff\xff no frame at all")

    def _hear(self, text: bytes) -> None:
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            self._complain("The event is not valid JSON.", "invalid_json")
            return
        kind = str(event.get("type"))
        act = getattr(self, "_on_" + kind.replace(".", "_"), None)
        if act is None:
            self._complain(f"Invalid value: '{kind[:100]}'.", "invalid_value")
        else:
            act(event)

    def _on_session_update(self, event: Document) -> None:
        session = event.get("session")
        if isinstance(session, dict) and isinstance(session.get("output_modalities"), list):
            self._modality = "audio" if "audio" in session["output_modalities"] else "text"
        self._ears = _ears_in(session)
        self._say({"type": "session.updated", "session": session})

    def _on_conversation_item_create(self, event: Document) -> None:
        item = event.get("item")
        parts = item.get("content") if isinstance(item, dict) else None
        for part in parts if isinstance(parts, list) else ():
            said = part.get("text") if isinstance(part, dict) else None
            if isinstance(said, str):
                self._said = said[:_LONGEST_QUOTE]
                self._memory.read(said)
        self._say({"type": "conversation.item.added", "previous_item_id": None, "item": item})

    def _on_input_audio_buffer_append(self, event: Document) -> None:
        self._memory.hear(str(event.get("audio") or ""))

    def _on_input_audio_buffer_commit(self, event: Document) -> None:
        item, heard = f"item_{self._number}", self._memory.commit()
        self._said = "(speech)"
        self._say({"type": "input_audio_buffer.committed", "item_id": item})
        if self._ears:
            self._transcribe(item, heard)
        if "-vad" in self._model:
            self._on_response_create({})

    def _transcribe(self, item: str, heard: int) -> None:
        kind = "conversation.item.input_audio_transcription.completed"
        usage = heard_usage(self._ears, heard)
        self._say({"type": kind, "item_id": item, "transcript": "(speech)", "usage": usage})

    def _on_response_create(self, event: Document) -> None:
        if self._steps is not None:
            self._complain("A response is under way.", "conversation_already_has_active_response")
            return
        wanted = event.get("response")
        if isinstance(wanted, dict) and isinstance(wanted.get("output_modalities"), list):
            self._modality = "audio" if "audio" in wanted["output_modalities"] else "text"
        self._responses += 1
        self._steps = self._response(f"resp_demo_{self._responses}")
        self._go_on()

    def _on_response_cancel(self, event: Document) -> None:
        if self._steps is None:
            self._complain("There is no response to cancel.", "response_cancel_not_active")
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._steps = None
        self._say(self._done(f"resp_demo_{self._responses}", "cancelled", 1))

    # what it says

    def _response(self, id: str) -> Iterator[Document | bytes | None]:
        """The events of one response; None where it waits, bytes that go out as they are."""
        name, item = self._name, f"item_{id}"
        place = {"response_id": id, "item_id": item, "output_index": 0, "content_index": 0}
        yield {"type": "response.created", "response": self._about(id, "in_progress")}
        if name.has("error-in-stream"):
            yield self._done(id, "failed", 0)
            return
        kind = "output_audio_transcript" if self._modality == "audio" else "output_text"
        words = self._words()
        for count, word in enumerate(words):
            if count:
                yield None
            if count == len(words) // 2:
                yield from self._middle()
            yield {"type": f"response.{kind}.delta", **place, "delta": word}
            if self._modality == "audio":
                yield {"type": "response.output_audio.delta", **place, "delta": _SOUND}
        yield {"type": f"response.{kind}.done", **place, "text": "".join(words)}
        yield self._done(id, "completed", len(words))
        found = _CLOSES.search(self._model)
        if found:
            yield closing(int(found[1]), "as the model's name says")

    def _middle(self) -> Iterator[Document | bytes | None]:
        """What goes wrong in the middle."""
        name = self._name
        if name.has("cut") or name.has("reset"):
            yield b""
        if name.has("stall"):
            yield b"stall"
        if name.has("huge-event"):
            size = int(name.number("huge-event", 4, 60) * 2**20)
            yield {"type": "response.output_text.delta", "delta": "x" * size}
        while "-flood" in self._model:
            yield {"type": "response.output_text.delta", "delta": "x" * _FLOOD}

    def _words(self) -> list[str]:
        if self._name.has("chunks"):
            return ["word "] * int(self._name.number("chunks", 10, _MOST_CHUNKS))
        return [f"{word} " for word in f"You said: {self._said}".split()]

    def _go_on(self) -> None:
        """Say what is to be said until it has to wait, or nobody takes it."""
        self._timer = None
        while self._steps is not None and not self._full and not self.closed:
            step = next(self._steps, b"end")
            if step is None:
                if self._name.has("at"):
                    wait = 1.0 / max(self._name.number("at", 50, 10_000), 0.01)
                    self._timer = self._loop.call_later(wait, self._go_on)
                    return
            elif step == b"end":
                self._steps = None
            elif isinstance(step, bytes):
                self._act(step)
                return
            else:
                self._say(step)

    def _act(self, step: bytes) -> None:
        """Break off, fall silent, or close."""
        if step == b"stall":
            self._timer = self._loop.call_later(86_400, self._go_on)
        elif step:
            self._steps = None
            self._transport.write(step)
        else:
            self.end()
            # What was said is on its way; what a reset would throw away is the rest.
            self._loop.call_later(0.02, self._transport.abort)

    def _about(self, id: str, status: str) -> Document:
        return {"object": "realtime.response", "id": id, "status": status, "output": []}

    def _done(self, id: str, status: str, words: int) -> Document:
        response: dict[str, Any] = self._about(id, status)
        usage = self._memory.usage(words, speaks=self._modality == "audio")
        response["usage"] = None if self._name.has("no-usage") else usage
        if status == "failed":
            error = {"type": "server_error", "code": None, "message": "The demo fails here."}
            response["status_details"] = {"type": "failed", "error": error}
            response["usage"] = None
        return {"type": "response.done", "response": response}

    def _complain(self, message: str, code: str) -> None:
        error = {"type": "invalid_request_error", "code": code, "message": message}
        self._say({"type": "error", "error": {**error, "param": None, "event_id": None}})

    def _say(self, event: Document) -> None:
        self._number += 1
        whole = {"type": event["type"], "event_id": f"event_{self._number}", **event}
        self._transport.write(frame(TEXT, orjson.dumps(whole)))

    def _close(self, code: int) -> None:
        if not self.closed:
            self._transport.write(closing(code))
        self.end()
        self._transport.close()
