"""A form in pieces of any size: what is in it, where it stands, and what is no form."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadCall
from relayd.wire import multipart
from relayd.wire.multipart import File, Form, FormReader, Held, Raw, boundary_of, form_of, is_form
from tests.support.forms import BOUNDARY, CONTENT_TYPE, Part, audio, form, model

LINE = f"--{BOUNDARY}".encode()
HEAD = b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
USUAL = form(
    Part("prompt", b"a cat\r\nwith a hat"),
    Part("image[]", b"\x89PNG" * 40, "cat.png", "image/png"),
    Part("image[]", b"\r\n--a-boundary-of-test\r\n--", "hat.png", "image/png"),
    model("painter"),
    Part("mask", b"M", "", "image/png"),
)


def read(body: bytes) -> Form:
    return form_of(CONTENT_TYPE, body)


def refused(body: bytes, content_type: str = CONTENT_TYPE) -> BadCall:
    with pytest.raises(BadCall) as caught:
        form_of(content_type, body)
    return caught.value


def rebuilt(found: Form, name: str) -> bytes:
    parts = found.with_model(name)
    return b"".join(p if isinstance(p, bytes) else found.spool.read(*p) for p in parts)


def test_fields_and_files_are_told_apart() -> None:
    found = read(USUAL)
    assert found.fields == {"prompt": "a cat\r\nwith a hat", "model": "painter"}
    assert found.model == "painter"
    assert [(f.name, f.filename, f.content_type, f.size) for f in found.files] == [
        ("image[]", "cat.png", "image/png", 160),
        ("image[]", "hat.png", "image/png", 26),
        ("mask", "", "image/png", 1),
    ]


def test_the_bytes_of_a_file_are_those_of_the_part() -> None:
    found = read(USUAL)
    assert [found.read(f) for f in found.files[:2]] == [
        b"\x89PNG" * 40,
        b"\r\n--a-boundary-of-test\r\n--",
    ]


@given(st.lists(st.integers(0, len(USUAL)), max_size=40))
def test_pieces_of_any_size_say_the_same(cuts: list[int]) -> None:
    reader = FormReader(CONTENT_TYPE)
    for start, end in pairwise([0, *sorted(cuts), len(USUAL)]):
        reader.feed(USUAL[start:end])
    found = reader.finish(Held(USUAL))
    whole = read(USUAL)
    assert (found.fields, found.files, found.model_span) == (
        whole.fields,
        whole.files,
        whole.model_span,
    )


@pytest.mark.parametrize("step", [1, 2, 3, 19, 20, 23, 24, 25, 26, 27])
def test_a_boundary_may_be_cut_anywhere(step: int) -> None:
    reader = FormReader(CONTENT_TYPE)
    for at in range(0, len(USUAL), step):
        reader.feed(USUAL[at : at + step])
    assert reader.finish(Held(USUAL)).files == read(USUAL).files


@given(st.binary(max_size=400))
def test_whatever_a_file_holds_comes_out_again(content: bytes) -> None:
    if not content:
        return
    found = read(form(audio(content), model("m")))
    assert found.read(found.files[0]) == content


def test_a_boundary_within_a_line_is_content() -> None:
    content = b"x" + LINE + b"\r\n-" + LINE + b"\r\n" + LINE[:-1]
    found = read(form(audio(content), Part("n", content)))
    assert found.read(found.files[0]) == content
    assert found.fields["n"] == content.decode()


@pytest.mark.parametrize("name", ["include", "include[]", "timestamp_granularities", "x[0]"])
def test_of_fields_that_may_repeat_the_last_counts(name: str) -> None:
    assert read(form(Part(name, b"1"), Part(name, b"2"))).fields == {name: "2"}


def test_files_of_a_name_may_repeat_beside_a_text() -> None:
    found = read(form(Part("doc", b"1"), Part("doc", b"2", "f"), Part("doc", b"3", "f")))
    assert (found.fields, len(found.files)) == ({"doc": "1"}, 2)


@pytest.mark.parametrize("name", ["n", "stream", "size", "quality", "prompt", "x-unknown"])
def test_a_text_that_comes_twice_is_refused(name: str) -> None:
    error = refused(form(Part(name, b"1"), audio(b"x"), Part(name, b"1")))
    assert (error.status, error.code, error.param) == (400, "invalid_value", name)


def test_a_text_that_comes_twice_is_refused_before_it_is_there() -> None:
    reader = FormReader(CONTENT_TYPE)
    with pytest.raises(BadCall):
        reader.feed(form(Part("n", b"1"), Part("n", b""))[: -len(BOUNDARY) - 8])


# What a boundary and a file may be chosen for: the one is nearly found in the other, everywhere.
TRAPS = [
    ("-", b"-"),
    ("-" * 198, b"-"),
    ("x", b"--x"),
    ("x", b"\n--"),
    ("a" * 200, b"\n--" + b"a" * 199),
    ("a" * 200, b"\r\n--" + b"a" * 199),
    ("a" * 200, b"\r--" + b"a" * 199),
    ("-" * 99 + "x" + "-" * 99, b"-"),
    ("- " * 99 + "-", b"\r\n-- - - -"),
]


@pytest.mark.parametrize(("boundary", "content"), TRAPS)
@pytest.mark.parametrize("size", [16 * 1024, 256 * 1024])
def test_no_boundary_makes_a_file_dear_to_search(boundary: str, content: bytes, size: int) -> None:
    reader = FormReader(f'multipart/form-data; boundary="{boundary}"')
    head = b'content-disposition: form-data; name="f"; filename="f"\r\n\r\nx'
    reader.feed(b"--" + boundary.encode() + b"\r\n" + head)
    piece = (content * (size // len(content) + 1))[:size]
    began = time.thread_time()
    for _ in range(8 * 1024 * 1024 // size):
        reader.feed(piece)
    assert time.thread_time() - began < 4  # a search that is not linear takes 9 to 18 s


def test_an_empty_field_is_a_field() -> None:
    assert read(form(Part("n", b""))).fields == {"n": ""}


@pytest.mark.parametrize("before", [b"", b"\r\n", b" \t\r\n\r\n"])
@pytest.mark.parametrize("after", [b"", b" \r\n\r\n"])
def test_white_space_may_stand_around_a_form(before: bytes, after: bytes) -> None:
    found = read(before + form(model("m"))[:-2] + after)
    assert (found.model, found.first) == ("m", len(before))


def test_white_space_may_follow_a_boundary() -> None:
    body = LINE + b" \t" + HEAD + b"x\r\n" + LINE + b"--"
    assert read(body).fields == {"a": "x"}
    reader = FormReader(CONTENT_TYPE)
    for at in range(len(body)):
        reader.feed(body[at : at + 1])
    assert reader.finish(Held(body)).fields == {"a": "x"}


# --- the model ------------------------------------------------------------------------------------


def test_the_model_is_replaced_where_it_stands_and_nothing_else() -> None:
    found = read(USUAL)
    assert found.model_span is not None
    start, end = found.model_span
    assert USUAL[start:end] == b"painter"
    assert rebuilt(found, "another") == USUAL[:start] + b"another" + USUAL[end:]


def test_the_same_name_leaves_the_body_as_it_is() -> None:
    assert read(USUAL).with_model("painter") == [(0, len(USUAL))]


@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_a_form_without_a_model_gets_one_before_all_else(before: bytes) -> None:
    body = before + form(audio(b"x"))
    found = read(body)
    assert found.model is None
    again = read(rebuilt(found, "m"))
    assert (again.model, again.fields, again.first) == ("m", {"model": "m"}, len(before))
    assert again.read(again.files[0]) == b"x"


def test_an_unread_body_goes_as_it_is() -> None:
    assert Raw("text/plain", Held(b"abc")).with_model("m") == [(0, 3)]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(audio(b"")), "file"),
        (form(model("a"), model("a")), "model"),
        (form(Part("model", b"a", "a.txt")), "model"),
        (form(Part("n", b"\xff")), "n"),
        (form(Part("n", b"1", "n.txt")), "n"),
        (form(Part("stream", b"true", content_type="application/octet-stream")), "stream"),
    ],
)
def test_a_field_that_is_wrong_is_named(body: bytes, param: str) -> None:
    error = refused(body)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        USUAL[:-4],
        USUAL[:-8],
        USUAL[:70],
        LINE,
        LINE + b"x" + HEAD,
        LINE + b"-x" + HEAD,
        LINE + b"-\r\n" + HEAD,
        LINE + b" " * 300 + HEAD,
        LINE + b"\r\n\r\nno headers\r\n" + LINE + b"--",
        LINE + b"\r\nX-Long: " + b"x" * multipart.HEAD_LIMIT,
        b"x" * 300,
        b"a preamble\r\n" + USUAL,
        USUAL + b"an epilogue",
        USUAL + USUAL,
        b"x" + USUAL,
        b"\n" + USUAL,
        USUAL.replace(b"\r\n" + LINE, b"\n" + LINE, 1),
        USUAL.replace(b"\r\n" + LINE, b"\r" + LINE, 1),
        LINE + HEAD + LINE + b"--",
        LINE + HEAD + b"\n" + LINE + b"--",
        LINE + HEAD + b"\r" + LINE + b"--",
        LINE + HEAD + b"x\r" + LINE + b"\r\n" + LINE + b"--",
        form(*[Part("a[]", b"")] * (multipart.MOST_PARTS + 1)),
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    error = refused(body)
    assert (error.status, error.code) == (400, "invalid_multipart")


@pytest.mark.parametrize("end", [b"\n", b"\r", b""])
def test_a_boundary_on_no_line_of_its_own_is_refused_however_it_is_cut(end: bytes) -> None:
    body = LINE + HEAD + (b"x" * 99 if end else b"") + end + LINE + b"--"
    for step in range(1, len(body)):
        reader = FormReader(CONTENT_TYPE)
        with pytest.raises(BadCall):
            for at in range(0, len(body), step):
                reader.feed(body[at : at + step])


def test_text_has_a_bound_and_files_have_none() -> None:
    half = b"x" * (multipart.TEXT_LIMIT // 2 + 1)
    assert read(form(Part("a", half), audio(half * 4))).fields["a"]
    error = refused(form(Part("a", half), Part("b", half)))
    assert (error.status, error.param) == (413, "b")


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data; boundary=x; boundary=y", "multipart/form-data; boundary="]
    + [
        "multipart/form-data; boundary=x; boundary*0=y",
        'multipart/form-data; boundary=x; z="; boundary=y"',
    ]
    + [f'multipart/form-data; boundary="{bad}"' for bad in ("", "a ", "ä", "x" * 201, "a\x01")],
)
def test_a_boundary_must_be_clear(content_type: str) -> None:
    with pytest.raises(BadCall) as caught:
        boundary_of(content_type)
    assert (caught.value.status, caught.value.code) == (400, "invalid_multipart")


def test_a_form_without_a_boundary_says_so() -> None:
    assert refused(USUAL, "multipart/form-data").code == "missing_boundary"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=x", b"x"),
        ('multipart/form-data; charset=utf-8; Boundary="a b"', b"a b"),
        ("multipart/form-data;boundary=----WebKit1;x=y", b"----WebKit1"),
    ],
)
def test_a_boundary_is_found(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("multipart/form-data; boundary=x", True),
        ("Multipart/Form-Data", True),
        ("multipart/mixed; boundary=x", False),
        ("application/json", False),
    ],
)
def test_a_form_is_known_by_its_type(content_type: str, expected: bool) -> None:
    assert is_form(content_type) is expected


def test_records_show_what_they_are_and_no_content() -> None:
    found = read(USUAL)
    assert "a cat" not in repr(found)
    assert found.size == len(USUAL)
    assert repr(Held(b"abc")) == "<Held 3 bytes>"
    assert repr(FormReader(CONTENT_TYPE)) == "<FormReader parts=0 at=-2>"
    assert File("a", "b", "c", 2, 5).size == 3


def test_a_body_in_memory_can_be_had_whole_and_in_spans() -> None:
    held = Held(b"abcdef")
    assert (held.whole, held.read(1, 3)) == (b"abcdef", b"bc")
    assert asyncio.run(held.load(1, 3)) == b"bc"
