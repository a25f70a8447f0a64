"""Where to cut a body: at random, and at the places where readers of streams go wrong.

Those are the inside of a character, of a line end, of a blank line, and of the words by which
usage and the end of a stream are found. The dice are seeded by the exchange, so that a failure can
be repeated.
"""

from __future__ import annotations

import itertools
import random
import re

RANDOM_CUTS = 12
TRICKY_CUTS = 12
_LEAD = re.compile(rb"[\xc2-\xf4](?=[\x80-\xbf])")
_LINE_END = re.compile(rb"\r\n|\n\n|\r\r")
_WORD = re.compile(rb'"usage|"error"|\[DONE\]|finish_reason|message_stop|response\.completed|data:')


def cut(body: bytes, seed: str) -> list[bytes]:
    """The body in pieces; joined they are the body, and none is empty."""
    dice = random.Random(seed)
    if len(body) < 2:
        return [body]
    places = {dice.randrange(1, len(body)) for _ in range(RANDOM_CUTS)}
    for pattern in (_LEAD, _LINE_END, _WORD):
        inside = [dice.randrange(m.start() + 1, m.end() + 1) for m in pattern.finditer(body)]
        dice.shuffle(inside)
        places.update(inside[:TRICKY_CUTS])
    edges = [0, *sorted(place for place in places if place < len(body)), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]
