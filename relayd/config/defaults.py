"""The `defaults:` section: what a request is taken to say where it says nothing.

Only endpoints whose fields are optional by their own documents have such defaults: the short chat
endpoint, and those for pictures and moderations, where the model may be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from relayd.config.document import Place, Wrong
from relayd.config.models import model_name
from relayd.config.values import number, record, whole


def one_model(place: Place) -> str:
    """The name of a single model."""
    name = model_name(place.text())
    if "*" in name:
        raise Wrong(f"{place.written!r} is a wildcard: one model has to answer")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefault:
    """The model of an endpoint; None: a request has to name one."""

    model: Annotated[str | None, one_model] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDefaults(ModelDefault):
    """What the short chat endpoint adds."""

    # Tokens of a reply; 0 adds nothing.
    max_tokens: Annotated[int, whole(0, 10_000_000)] = 4096
    temperature: Annotated[float, number(0.0, 2.0)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsConfig:
    """Defaults by endpoint."""

    # POST /api/v1/chat
    chat: Annotated[ChatDefaults, record(ChatDefaults)] = ChatDefaults()
    # POST /v1/images/generations
    image: Annotated[ModelDefault, record(ModelDefault)] = ModelDefault()
    # POST /v1/moderations
    moderation: Annotated[ModelDefault, record(ModelDefault)] = ModelDefault()

    def by_endpoint(self) -> dict[str, dict[str, str | int | float]]:
        """The fields that are added, by the endpoint's name."""
        chat = self.chat
        temperature = int(chat.temperature) if chat.temperature.is_integer() else chat.temperature
        models = {
            "chat": chat.model,
            "image": self.image.model,
            "moderation": self.moderation.model,
        }
        found: dict[str, dict[str, str | int | float]] = {
            name: {"model": model} if model else {} for name, model in models.items()
        }
        found["chat"] |= {"max_tokens": chat.max_tokens} if chat.max_tokens else {}
        found["chat"]["temperature"] = temperature
        return found
