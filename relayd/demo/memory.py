"""What a realtime session of the demo was told, in tokens, and what it counts for that.

A token is four characters of text or a tenth of a second of sound. What one response has read is
cached for those after it, as is what it said.
"""

from __future__ import annotations

from typing import Final

from relayd.demo.ask import Document

_CHARACTERS_A_TOKEN: Final = 4
_BYTES_AN_AUDIO_TOKEN: Final = 6400  # of base64: ten tokens a second
_SOUND_TOKENS: Final = 2  # of a word that is spoken


class Memory:
    """Owned by the session."""

    def __init__(self) -> None:
        self._fresh = [0, 0]  # tokens of text and of audio that no response has read yet
        self._read = [0, 0]  # those that one has
        self._pending = 0  # bytes of audio that are not committed

    def __repr__(self) -> str:
        return f"Memory(fresh={self._fresh}, read={self._read}, pending={self._pending})"

    def read(self, text: str) -> None:
        """Take in what the user wrote."""
        self._fresh[0] += -(-len(text) // _CHARACTERS_A_TOKEN)

    def hear(self, sound: str) -> None:
        """Take in some sound, in base64; it counts once it is committed."""
        self._pending += len(sound)

    def commit(self) -> int:
        """Take the sound until now for one utterance. Returns its tokens."""
        tokens = -(-self._pending // _BYTES_AN_AUDIO_TOKEN)
        self._fresh[1] += tokens
        self._pending = 0
        return tokens

    def usage(self, words: int, *, speaks: bool) -> Document:
        """What a response of so many words has used; from now on all of it was read."""
        text, audio = (a + b for a, b in zip(self._fresh, self._read, strict=True))
        cached_text, cached_audio = self._read
        spoken = words * _SOUND_TOKENS if speaks else 0
        self._read, self._fresh = [text + words, audio + spoken], [0, 0]
        return {
            "total_tokens": text + audio + words + spoken,
            "input_tokens": text + audio,
            "output_tokens": words + spoken,
            "input_token_details": {
                "text_tokens": text,
                "audio_tokens": audio,
                "image_tokens": 0,
                "cached_tokens": cached_text + cached_audio,
                "cached_tokens_details": {
                    "text_tokens": cached_text,
                    "audio_tokens": cached_audio,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": words, "audio_tokens": spoken},
        }


def heard_usage(model: str, heard: int) -> Document:
    """What transcribing so many tokens of sound has used, as that model counts."""
    if "whisper" in model:
        return {"type": "duration", "seconds": heard / 10}
    return {
        "type": "tokens",
        "total_tokens": heard + 2,
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": 2,
    }
