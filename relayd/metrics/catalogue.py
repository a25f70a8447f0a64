"""Every metric of relayd, in one list: its name, what it counts, its labels.

Nothing is shown that is not listed here, and docs/metrics.md and the dashboards are tested against
it. Names and units are Prometheus' (base units, `_total` for what only grows); where the semantic
conventions for generative AI have a word (input, output, time to first token, time per output
token), it is used. Labels are bounded by the configuration: a model is the configured rule that was
matched, never what a client wrote.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Family(NamedTuple):
    """One metric. `labels` are in the order in which values are given."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()


_C: Final = "counter"
_G: Final = "gauge"
_H: Final = "histogram"
_KEY: Final = ("upstream", "key")
_MODEL: Final = ("model", "upstream")
_WAY: Final = ("operation", "upstream")
_ASKED: Final = ("operation", "format")

CATALOGUE: Final = (
    # --- requests
    Family(
        "relayd_requests_total",
        _C,
        "Requests ended, by how they ended.",
        ("operation", "format", "upstream_format", "model", "upstream", "status", "outcome"),
    ),
    Family("relayd_in_flight_requests", _G, "Requests in flight."),
    Family("relayd_waiting_requests", _G, "Requests that wait for an upstream key."),
    Family(
        "relayd_request_duration_seconds",
        _H,
        "From the request's head to the end of the reply.",
        _WAY,
    ),
    Family(
        "relayd_time_to_first_byte_seconds",
        _H,
        "From the request's head to the first byte of the upstream's reply.",
        _WAY,
    ),
    Family(
        "relayd_time_per_output_token_seconds",
        _H,
        "Of a stream: from its first byte to its end, by the output tokens but one.",
        _MODEL,
    ),
    Family(
        "relayd_overhead_seconds",
        _H,
        "Time in relayd itself: from the body's last byte until an upstream is asked, and from the"
        " upstream's last byte to the end; without the wait for a key.",
        ("format",),
    ),
    Family(
        "relayd_queue_wait_seconds", _H, "How long requests waited for a key that was at its limit."
    ),
    Family(
        "relayd_received_bytes_total",
        _C,
        "Bodies of requests that clients sent, also files.",
        _ASKED,
    ),
    Family("relayd_sent_bytes_total", _C, "What clients were sent as replies.", _ASKED),
    Family(
        "relayd_limited_requests_total",
        _C,
        "Requests refused over a limit of their key or account.",
        ("limit",),
    ),
    Family(
        "relayd_translations_total",
        _C,
        "Requests put into another format, by what came of them.",
        ("client", "upstream", "outcome"),
    ),
    Family(
        "relayd_dropped_fields_total",
        _C,
        "Translations that left a field of the client's out, by its first name.",
        ("field",),
    ),
    # --- realtime sessions
    Family("relayd_realtime_open_sessions", _G, "Realtime sessions that are open."),
    Family(
        "relayd_realtime_sessions_total",
        _C,
        "Realtime sessions that have ended, by who ended them and how.",
        ("by", "outcome"),
    ),
    Family(
        "relayd_realtime_session_duration_seconds",
        _H,
        "How long realtime sessions were open; each response of theirs is a request, too.",
    ),
    # --- tokens and money
    Family(
        "relayd_tokens_total",
        _C,
        "Tokens by kind; input is what no cache served, reasoning is part of output.",
        ("model", "upstream", "kind"),
    ),
    Family(
        "relayd_media_tokens_total",
        _C,
        "Tokens of input or output that stood for media; those above have them, too.",
        ("model", "upstream", "side", "kind"),
    ),
    Family(
        "relayd_units_total",
        _C,
        "What is counted by something else than tokens: pictures made, seconds of audio heard,"
        " characters spoken, searches, uses of the upstream's tools.",
        ("model", "upstream", "unit"),
    ),
    Family("relayd_cost_dollars_total", _C, "What accounts paid.", _MODEL),
    Family(
        "relayd_uncharged_dollars_total",
        _C,
        "What strict accounts used beyond their balance, and did not pay.",
        _MODEL,
    ),
    Family(
        "relayd_account_cost_dollars_total",
        _C,
        "What the accounts that spent most ever paid, and `other` all others together.",
        ("account",),
    ),
    Family(
        "relayd_account_balance_dollars",
        _G,
        "Granted less spent, of the same accounts, where they need a balance.",
        ("account",),
    ),
    # --- upstreams
    Family(
        "relayd_upstream_attempts_total",
        _C,
        "Attempts at an upstream key, by what came of them: ok, the code of the failure,"
        " client_gone, or lost_race.",
        ("upstream", "key", "result"),
    ),
    Family(
        "relayd_upstream_errors_total",
        _C,
        "Failures that are the upstream's, by the reason in the usage log.",
        ("upstream", "reason"),
    ),
    Family("relayd_retries_total", _C, "Attempts that followed a failure.", ("reason",)),
    Family("relayd_hedges_total", _C, "Second attempts beside a slow first.", ("won_by",)),
    Family("relayd_fallbacks_total", _C, "Requests that a fallback model answered.", ("upstream",)),
    Family("relayd_upstream_key_up", _G, "Whether the upstream key takes requests.", _KEY),
    Family(
        "relayd_upstream_key_state",
        _G,
        "1 for the state that the upstream key is in.",
        ("upstream", "key", "state"),
    ),
    Family(
        "relayd_upstream_key_cooldown_seconds",
        _G,
        "Until the upstream key is tried again; 0 for one that is.",
        _KEY,
    ),
    Family(
        "relayd_upstream_key_troubled_models",
        _G,
        "Models that the upstream key does not take requests for, by why.",
        ("upstream", "key", "state"),
    ),
    Family("relayd_upstream_key_in_flight", _G, "Requests the upstream key holds.", _KEY),
    Family(
        "relayd_upstream_connections",
        _G,
        "Open connections to the upstream.",
        ("upstream", "state"),
    ),
    Family(
        "relayd_upstream_connections_opened_total",
        _C,
        "Connections made to the upstream.",
        ("upstream",),
    ),
    Family(
        "relayd_upstream_connections_reused_total",
        _C,
        "Requests sent on a connection that was there already.",
        ("upstream",),
    ),
    # --- the ledger
    Family("relayd_ledger_waiting_rows", _G, "Usage rows not yet in the store."),
    Family("relayd_ledger_lag_seconds", _G, "Age of the oldest row that is not in the store."),
    Family("relayd_ledger_full", _G, "1 while requests are refused because rows cannot be kept."),
    Family("relayd_journal_bytes", _G, "What the journal takes up on disk."),
    Family("relayd_journal_unwritten_lines", _G, "Lines that the disk did not take yet."),
    Family("relayd_store_errors_total", _C, "Batches of rows that the store did not take."),
    # --- the process
    Family("relayd_client_connections", _G, "Open connections of clients."),
    Family("relayd_spooled_bytes", _G, "Request bodies kept, mostly on disk: forms and files."),
    Family(
        "relayd_event_loop_lag_seconds",
        _H,
        "How much later than asked the event loop woke a task, twice a second.",
    ),
    Family("relayd_config_reloads_total", _C, "Reloads of the configuration.", ("result",)),
    Family(
        "relayd_config_last_reload_successful",
        _G,
        "1 if the last reload succeeded, or there was none.",
    ),
    Family(
        "relayd_config_last_reload_success_timestamp_seconds",
        _G,
        "When the configuration in use was read.",
    ),
    Family(
        "relayd_log_lines_lost_total",
        _C,
        "Lines of the log that could not be written: the disk is full, or nobody reads them.",
    ),
    Family(
        "relayd_captures_total",
        _C,
        "Requests whose content was to be kept for finding errors: kept, or lost to a disk that is"
        " slow or full.",
        ("result",),
    ),
    Family(
        "relayd_spans_dropped_total",
        _C,
        "Spans that no receiver of traces got: it is down or slow.",
    ),
    Family(
        "relayd_alerts_total",
        _C,
        "Alerts to webhooks: sent, retried, failed after all tries, or dropped: too many waited.",
        ("webhook", "result"),
    ),
    Family("relayd_build_info", _G, "1, with what runs.", ("version", "python")),
)

BY_NAME: Final = {family.name: family for family in CATALOGUE}
