"""relayd: a self-hosted relay for AI APIs. This is the map of the house.

A module imports only from the floors below its own; `make check` proves it.

    6  cli/             commands and printing, `main` first
       daemon/          the composition root: builds every object once, serves, reloads, drains
    5  web/             the inbound side: routes, limits, credentials, model lists, metrics page
    4  realtime/        the story of one realtime session, which is a tunnel with books
       relay/           THE STORY of one request, `relay`: admit, choose, open, relay, settle;
                        `asking` the loop over upstreams, `attempt` one of them asked once,
                        `crossing` in another format than the client's, `drawing` with a picture
                        on one side, `followups` for what an upstream keeps, `passing` for what
                        nobody knows here
    3  upstream/        the outbound HTTP of the hot path: pool and llhttp connection
       ledger/          the usage log, written behind in batches
       store/           accounts, keys and usage rows in SQLite, behind Protocols
       metrics/         every metric in one catalogue, counted in plain numbers
       alerts/          what is wrong, told to webhooks
       demo/            the embedded fake provider, whose model names pick misbehaviours
    2  config/          YAML to frozen records, all problems at once
    1  wire/            PURE: the four formats, their paths, streams and dialects; `neutral`,
                        `parts` and `events` are the hub that they are translated through
       policy/          PURE: who may, and which upstream; `now` is an argument
    0  model, errors    the nouns, and whose fault it is

Start with `relay/relay.py`, then `wire/formats.py`, the one table of formats. What waits lives in
few files; everything else is a plain function over bytes and records.
"""

from __future__ import annotations

__version__ = "0.1.0"
