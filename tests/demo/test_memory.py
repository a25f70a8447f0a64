"""What the demo's sessions count: four characters or a tenth of a second a token."""

from __future__ import annotations

from relayd.demo.memory import Memory, heard_usage

SECOND = "x" * 64_000  # of sound, in base64


def test_what_one_response_read_and_said_is_cached_for_the_next() -> None:
    memory = Memory()
    memory.read("five!")
    first = memory.usage(3, speaks=False)
    second = memory.usage(1, speaks=False)

    assert (first["input_tokens"], first["output_tokens"], first["total_tokens"]) == (2, 3, 5)
    assert first["input_token_details"]["cached_tokens"] == 0
    assert (second["input_tokens"], second["input_token_details"]["cached_tokens"]) == (5, 5)


def test_sound_counts_once_it_is_committed() -> None:
    memory = Memory()
    memory.hear(SECOND)

    assert memory.usage(0, speaks=False)["input_tokens"] == 0
    assert memory.commit() == 10
    assert memory.commit() == 0
    assert memory.usage(0, speaks=False)["input_token_details"]["audio_tokens"] == 10
    assert repr(memory) == "Memory(fresh=[0, 0], read=[0, 10], pending=0)"


def test_words_that_are_spoken_count_as_text_and_as_sound() -> None:
    usage = Memory().usage(3, speaks=True)

    assert usage["output_token_details"] == {"text_tokens": 3, "audio_tokens": 6}


def test_one_kind_of_ears_counts_seconds_and_the_other_tokens() -> None:
    assert heard_usage("whisper-1", 10) == {"type": "duration", "seconds": 1.0}
    assert heard_usage("transcriber", 10)["total_tokens"] == 12
