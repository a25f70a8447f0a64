"""Words that may become labels, where what is counted is somebody else's word.

Clients write the names of fields and upstreams choose their statuses; a name or a number that no
API documents would be a series of theirs for good, and so it is `other`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from relayd.metrics.series import OTHER

# The first names of what requests of the four formats, and of embeddings and pictures, may hold.
_COMMON: Final = "model messages input stream metadata temperature top_p top_k tools tool_choice"
_CHAT: Final = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens"
    " max_tokens modalities moderation n parallel_tool_calls prediction presence_penalty"
    " prompt_cache_key prompt_cache_retention prompt_cache_options reasoning_effort"
    " response_format safety_identifier seed service_tier stop store stream_options top_logprobs"
    " user verbosity web_search_options"
)
_RESPONSES: Final = (
    "background context_management conversation include instructions max_output_tokens"
    " max_tool_calls previous_response_id prompt reasoning text truncation access_programs"
)
_MESSAGES: Final = (
    "betas cache_control container context_management diagnostics fallbacks inference_geo"
    " billing_policy compaction fallback_credit_token thread user_profile_id workspace_id"
    " mcp_servers output_config output_format speed stop_sequences system thinking"
)
_GEMINI: Final = (
    "cachedContent contents generationConfig labels safetySettings serviceTier store"
    " systemInstruction toolConfig cached_content generation_config safety_settings"
    " system_instruction tool_config"
)
_OTHERS: Final = (
    "dimensions encoding_format prompt size quality style background moderation"
    " output_compression output_format partial_images response_format mask image images"
    " input_fidelity complexity frame_count frame_duration_ms svg"
)
FIELDS: Final = frozenset(
    " ".join((_COMMON, _CHAT, _RESPONSES, _MESSAGES, _GEMINI, _OTHERS)).split()
)

# Beside HTTP's own: Anthropic's, and those of the proxies that many upstreams stand behind.
STATUSES: Final = frozenset(map(int, HTTPStatus)) | {499, 529, 530, *range(520, 528)}
_STATUS: Final = re.compile(r"upstream_(\d)\d\d")


def field(path: str) -> str:
    """The first name of a path into a request (`tools[0].strict`), if a format knows it."""
    name = path.partition(".")[0].partition("[")[0]
    return name if name in FIELDS else OTHER


@lru_cache(maxsize=4096)
def reason(code: str) -> str:
    """The code of a failure; one that names a status nobody knows is that of its hundred."""
    match = _STATUS.fullmatch(code)
    if match is None or int(code[-3:]) in STATUSES:
        return code
    return f"upstream_{match[1]}xx"
