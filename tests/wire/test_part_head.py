"""The headers of a part: what is a file, what is called what, and what is refused as ambiguous."""

from __future__ import annotations

import pytest

from relayd.errors import BadCall
from relayd.wire.part_head import LONGEST_FILENAME, LONGEST_NAME, READ, PartHead, read

FIELD = b'Content-Disposition: form-data; name="prompt"'
FILE = b'Content-Disposition: form-data; name="image"'


def disposition(value: str) -> bytes:
    return f"Content-Disposition: {value}".encode()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (FIELD, PartHead("prompt", None, "")),
        (b"content-disposition:form-data;name=n", PartHead("n", None, "")),
        (FIELD + b"\r\nContent-Type: text/plain; charset=utf-8", None),
        (FIELD + b"\r\nContent-Type: application/json\r\nX-More: 1\r\nX-More: 2", None),
        (FIELD + b"\r\nContent-Transfer-Encoding: 8BIT", PartHead("prompt", None, "")),
        (disposition('form-data; name="a"; filename="b.png"'), PartHead("a", "b.png", "")),
        (
            disposition('form-data; name="a"; filename="b \\"c\\".png"'),
            PartHead("a", 'b "c".png', ""),
        ),
        (disposition("form-data; name=\"a\"; filename*=UTF-8''b%C3%A4"), PartHead("a", "bä", "")),
        (disposition('form-data; filename=""; name="ä" ;'), PartHead("ä", "", "")),
    ],
)
def test_a_head_says_what_the_part_is(head: bytes, expected: PartHead | None) -> None:
    found = read(head)
    if expected is None:
        assert (found.name, found.filename) == ("prompt", None)
    else:
        assert found == expected


def test_a_part_of_another_type_is_a_file_without_a_file_name() -> None:
    head = disposition('form-data; name="image"') + b"\r\nContent-Type: image/png"
    assert read(head) == PartHead("image", "", "image/png")


@pytest.mark.parametrize("name", ["5.00\u202fPM.png", "\u3000\xa0.png", "日本.wav", "😀"])
def test_a_file_may_be_called_anything(name: str) -> None:
    assert read(disposition(f'form-data; name="a"; filename="{name}"')).filename == name


def test_a_file_name_in_another_encoding_is_a_name() -> None:
    head = FILE + b'; filename="\xe4.png"'
    assert read(head) == PartHead("image", "\ufffd.png", "")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Content-Type: text/plain",
        b"Content-Disposition",
        b": form-data",
        b"Content-Disposition : form-data; name=a",
        FIELD + b"\r\nX-Odd: \x01",
        FIELD + b"\r\n" + FIELD,
        FIELD + b"\r\n\r\n",
        disposition('attachment; name="a"'),
        disposition("form-data"),
        disposition('form-data; name=""'),
        disposition('form-data; name="a"; name="b"'),
        disposition('form-data; name="a"; NAME="b"'),
        disposition("form-data; name*=UTF-8''model"),
        disposition('form-data; name="a'),
        disposition('form-data; name="a" b'),
        disposition(f'form-data; name="{"n" * (LONGEST_NAME + 1)}"'),
        disposition(f'form-data; name="a"; filename="{"n" * (LONGEST_FILENAME + 1)}"'),
        FIELD + b"\r\nContent-Transfer-Encoding: base64",
    ],
)
def test_what_is_malformed_or_said_twice_is_refused(head: bytes) -> None:
    with pytest.raises(BadCall) as caught:
        read(head)
    assert (caught.value.status, caught.value.code) == (400, "invalid_multipart")


@pytest.mark.parametrize("name", ["mo%64el", "model ", "\\\\model", "%22model%22", "'model'"])
def test_a_model_in_disguise_is_refused(name: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(disposition(f'form-data; name="{name}"'))
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", ["model", "mo\\del"])
def test_a_model_that_is_only_escaped_is_the_model(name: str) -> None:
    assert read(disposition(f'form-data; name="{name}"')).name == "model"


@pytest.mark.parametrize("name", [*READ, "image[]", "svg[model]", "timestamp_granularities[]"])
@pytest.mark.parametrize(
    "kind", ["", "text/plain; charset=ISO-8859-1", 'text/plain;charset="utf8"']
)
def test_what_clients_send_is_taken(name: str, kind: str) -> None:
    head = disposition(f'form-data; name="{name}"') + f"\r\nContent-Type: {kind}".encode()
    assert read(head) == PartHead(name, None, kind)


@pytest.mark.parametrize("name", ["chunking_strategy[type]", "include[]", "num_speakers", "names"])
def test_a_name_that_only_contains_one_that_is_read_is_another(name: str) -> None:
    assert read(disposition(f'form-data; name="{name}"')).name == name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MODEL", "model"),
        ("model[]", "model"),
        ("model%00", "model"),
        ("N", "n"),
        ("n[]", "n"),
        ("n[0]", "n"),
        ("n ", "n"),
        ("[n]", "n"),
        ("%6e", "n"),
        ("Stream", "stream"),
        ("\u017ftream", "stream"),
        ("response.format", "response_format"),
        ("responseFormat", "response_format"),
    ],
)
def test_a_name_that_another_parser_could_read_is_refused(name: str, meant: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(disposition(f'form-data; name="{name}"'))
    assert (caught.value.status, caught.value.param) == (400, meant)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    "rest",
    ['; filename="a"', '; filename=""', "; filename*=x''a", "\r\nContent-Type: image/png"],
)
def test_what_is_read_is_no_file(name: str, rest: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(disposition(f'form-data; name="{name}"{rest}'))
    assert (caught.value.status, caught.value.param) == (400, name)


@pytest.mark.parametrize("charset", ["utf-16", "UTF-7", "'utf-16le'", "ebcdic-cp-us", ""])
def test_a_text_in_which_ascii_is_not_ascii_is_refused(charset: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(FIELD + f"\r\nContent-Type: text/plain; Charset={charset}".encode())
    assert caught.value.param == "prompt"
    with pytest.raises(BadCall) as caught:
        read(disposition('form-data; name="_charset_"'))
    assert caught.value.param == "_charset_"


def test_the_charset_of_a_file_is_its_own() -> None:
    head = FILE + b'; filename="a"\r\nContent-Type: text/plain; charset=utf-16'
    assert read(head).filename == "a"
