"""Forms are read strictly, and their files come out byte for byte."""

from __future__ import annotations

import pytest

from relayd.demo.form import MOST_PARTS, parse_form
from relayd.demo.refusal import Refusal
from tests.demo.serving import form_of


def test_fields_and_files_come_out_as_they_were() -> None:
    data = bytes(range(256)) + b"\r\n--demo-boundary-not\r\n"
    form = parse_form(*form_of({"model": "m", "n": 2}, ("image[]", "ä b.png", data)))
    assert form.fields == {"model": "m", "n": "2"}
    (file,) = form.files
    assert (file.field, file.filename, file.data) == ("image[]", "ä b.png", data)
    assert file.content_type == "image/png"


def test_the_last_field_of_a_name_counts_and_lists_are_collected() -> None:
    line = '--b\r\ncontent-disposition: form-data; name="'
    pairs = (("a", 1), ("a", 2), ("c[]", 3), ("c[]", 4))
    body = "".join(f'{line}{name}"\r\n\r\n{value}\r\n' for name, value in pairs)
    form = parse_form('multipart/form-data; boundary="b"', body.encode() + b"--b--")
    assert form.fields == {"a": "2", "c": ["3", "4"]}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b--"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b'--b\r\na: "\r\n\r\nx'),
        ("multipart/form-data; boundary=b", b"--b\r\ncontent-type: text/plain\r\n\r\nx\r\n--b--"),
        ("multipart/form-data; boundary=b", b"x--b\r\n\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n" * (MOST_PARTS + 3) + b"--b--"),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_form(content_type, body)
    assert refused.value.status == 400
