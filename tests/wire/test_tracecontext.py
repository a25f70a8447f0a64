"""The W3C's rules of traceparent and tracestate."""

from __future__ import annotations

import pytest

from relayd.wire.tracecontext import LONGEST_STATE, MOST_MEMBERS, Parent, read, written

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()
PARENT = Parent(int(TRACE, 16), int(SPAN, 16), 1)


def test_a_parent_is_read_and_written_as_it_came() -> None:
    assert read([(b"Host", b"x"), (b"TraceParent", GOOD)]) == PARENT
    assert written(PARENT) == [(b"traceparent", GOOD)]
    assert PARENT.sampled and not PARENT._replace(flags=2).sampled


def test_nothing_of_it_is_no_parent() -> None:
    assert read([(b"host", b"x"), (b"tracestate", b"a=1")]) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"nonsense",
        b"\xff" * 55,
        GOOD.upper(),
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-more",  # this version has no more
        b"ff" + GOOD[2:],  # no version at all
        b"cc" + GOOD[2:] + b".more",
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE}-{SPAN}-zz".encode(),
        b"cc" + GOOD[2:] + b"-" + b"x" * 10_000,
    ],
)
def test_what_is_not_right_begins_no_trace_of_the_clients(value: bytes) -> None:
    assert read([(b"traceparent", value), (b"tracestate", b"a=1")]) is None


def test_of_two_parents_neither_is_believed() -> None:
    assert read([(b"traceparent", GOOD), (b"traceparent", GOOD)]) is None


@pytest.mark.parametrize("value", [b"cc" + GOOD[2:], b"cc" + GOOD[2:] + b"-what-comes"])
def test_a_later_version_is_read_as_far_as_this_one_goes(value: bytes) -> None:
    parent = read([(b"traceparent", value)])
    assert parent == PARENT
    assert written(PARENT)[0][1].startswith(b"00-")


def test_flags_that_are_not_known_do_not_travel() -> None:
    parent = read([(b"traceparent", GOOD[:-2] + b"ff")])
    assert parent is not None and parent.flags == 3


def state(*values: bytes) -> tuple[tuple[str, str], ...]:
    headers = [(b"Tracestate", value) for value in values]
    parent = read([(b"traceparent", GOOD), *headers])
    assert parent is not None
    return parent.state


def test_what_vendors_say_is_passed_on_in_order() -> None:
    found = state(b"one=1,\t two@us-1=a b", b"", b"three= x!")
    assert found == (("one", "1"), ("two@us-1", "a b"), ("three", " x!"))
    passed = written(PARENT._replace(state=found))
    assert passed[1] == (b"tracestate", b"one=1,two@us-1=a b,three= x!")


@pytest.mark.parametrize(
    "value",
    [
        b"noequals",
        b"UPPER=1",
        b"a=1,a=2",
        b"a=\x1b[31m",
        b"a=b=c",
        b"a=\xff",
        b"=1",
        b"a=",
        b"a=" + b"x" * LONGEST_STATE,
        b",".join(b"k%d=1" % number for number in range(MOST_MEMBERS + 1)),
    ],
)
def test_a_state_that_is_not_right_is_left_out_whole(value: bytes) -> None:
    assert state(value) == ()
    assert state(b"good=1", value) == ()


def test_as_much_as_is_allowed_is_kept() -> None:
    assert len(state(b",".join(b"k%d=1" % number for number in range(MOST_MEMBERS)))) == 32
    assert len(state(b"a=" + b"x" * 256, b"b=" + b"y" * 251)) == 2
