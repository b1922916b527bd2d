"""Answers that faults make: from nothing, or by changing the answer of a handler."""

import gzip
import json
from http import HTTPStatus
from typing import Final

from aiohttp import web

from aioconsulconnect.testing.go_json.values import is_list, is_object
from aioconsulconnect.testing.protocol.reply import PLAIN

INDEX: Final = "X-Consul-Index"
_HTML: Final = "text/html; charset=utf-8"


def refusal(status: int, text: str, index: int | None = None) -> web.Response:
    """Make an error with `status`, `text` and, unless it is None, `index`."""
    answer = web.Response()
    refuse(answer, status, text, index)
    return answer


def refuse(answer: web.Response, status: int, text: str, index: int | None = None) -> None:
    """Turn `answer` into an error with `status`, `text` and, unless it is None, `index`."""
    answer.set_status(status)
    set_body(answer, text.encode())
    answer.headers["Content-Type"] = PLAIN
    answer.headers.pop(INDEX, None)
    if index is not None:
        answer.headers[INDEX] = str(index)


def page(status: int) -> web.Response:
    """Make the HTML error page of a proxy."""
    return web.Response(status=status, body=_html(status), headers={"Content-Type": _HTML})


def raw_page(status: int) -> bytes:
    """Make the HTML error page of a proxy, as bytes to write to the connection."""
    return _raw(status, _HTML, _html(status))


def raw_refusal(status: int, text: str) -> bytes:
    """Make an error with `status` and `text`, as bytes to write to the connection."""
    return _raw(status, "text/plain", text.encode())


def _html(status: int) -> bytes:
    words = f"{status} {HTTPStatus(status).phrase}"
    return f"<html><head><title>{words}</title></head><body><h1>{words}</h1></body></html>\n".encode()


def _raw(status: int, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def body_of(answer: web.Response) -> bytes:
    """The body of an answer as it is on the wire."""
    return bytes(answer.body) if isinstance(answer.body, (bytes, bytearray)) else b""


def set_body(answer: web.Response, body: bytes) -> None:
    """Replace the body of `answer` by `body`, which is not compressed."""
    answer.headers.pop("Content-Encoding", None)
    answer.body = body


def empty(answer: web.Response) -> None:
    """Empty the list in an answer, or each list in an object of lists, as match answers.

    Any other answer is left alone.
    """
    body = body_of(answer)
    if answer.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    try:
        value: object = json.loads(body)
    except ValueError:
        return
    if is_list(value):
        set_body(answer, b"[]")
    elif is_object(value) and all(each is None or is_list(each) for each in value.values()):
        set_body(answer, json.dumps(dict.fromkeys(value)).encode())


def streamed(answer: web.Response) -> tuple[bytes, web.StreamResponse]:
    """Split an answer into its body and a head that can be sent before it."""
    body = body_of(answer)
    head = web.StreamResponse(status=answer.status, headers=answer.headers)
    head.content_length = len(body)
    return body, head
