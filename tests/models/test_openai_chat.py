"""The chat client against a local server that answers well, badly, slowly, too much, or elsewhere."""

from __future__ import annotations

import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError
from vesalius.models import openai_chat
from vesalius.models.openai_chat import OpenAIChat, is_loopback

SEEN: list[tuple[str, dict[str, str], dict[str, object]]] = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        SEEN.append((self.path, dict(self.headers), body))
        kind = body["model"]
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()
            return
        if kind == "refuse":
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"your key sk-secret is wrong")
            return
        if kind == "drip":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b" ")
                    time.sleep(0.05)
            except OSError:
                return
            return
        reply = {"choices": [{"message": {"content": "one\ntwo"}}]}
        text = {"plain": json.dumps(reply), "html": "<html>", "deep": "[" * 200_000, "null": json.dumps(
            {"choices": [{"message": {"content": None}}]}), "huge": " " * 2_000_000}[kind]  # fmt: skip
        self.send_response(200)
        self.end_headers()
        try:
            self.wfile.write(text.encode())
        except OSError:
            return

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_question_and_its_reply(address):
    chat = OpenAIChat.from_name(f"openai:{address}#plain")
    assert chat.ask("what?") == "one\ntwo"
    path, headers, body = SEEN[-1]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "user", "content": "what?"}]
    assert body["temperature"] == 0
    assert "Authorization" not in headers


def test_the_key_is_sent_and_never_shown(address, monkeypatch, caplog):
    monkeypatch.setenv(openai_chat.KEY, "sk-secret")
    caplog.set_level(logging.DEBUG)
    chat = OpenAIChat(address, "refuse")
    with pytest.raises(MissingError, match="status 401") as caught:
        chat.ask("what?")
    assert SEEN[-1][1]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(chat) + str(caught.value) + caplog.text


@pytest.mark.parametrize(
    ("model", "error"),
    [("html", BadInputError), ("deep", BadInputError), ("null", BadInputError), ("huge", ResourceError),
     ("redirect", MissingError)],
)  # fmt: skip
def test_replies_that_are_no_replies(address, model, error):
    with pytest.raises(error):
        OpenAIChat(address, model).ask("what?")


def test_a_server_that_drips_is_cut_off(address):
    started = time.monotonic()
    with pytest.raises(ResourceError, match="too long"):
        OpenAIChat(address, "drip", timeout=0.4).ask("what?")
    assert time.monotonic() - started < 2


def test_nobody_there():
    with pytest.raises(MissingError, match="cannot talk"):
        OpenAIChat("http://127.0.0.1:9/v1", "m", timeout=2).ask("what?")


@pytest.mark.parametrize(
    "url",
    ["http://example.org/v1", "https://10.0.0.1/v1", "http://127.0.0.1.example.org/v1", "http://[2001:db8::1]/v1"],
)
def test_the_network_is_not_used_unasked(url):
    with pytest.raises(UsageError, match="network unasked"):
        OpenAIChat(url, "m")
    assert OpenAIChat(url, "m", online=True, key="").url == url


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/v1", "http:///v1", "file:///etc/passwd", "http://127.0.0.1:0/", "http://127.0.0.1:x/",
            "http://127.0.0.1/v1?x=1", ""]
)  # fmt: skip
def test_addresses_that_make_no_sense(url):
    with pytest.raises(UsageError):
        OpenAIChat(url, "m")


def test_secrets_in_addresses_and_keys_in_the_clear():
    with pytest.raises(UsageError) as caught:
        OpenAIChat("http://me:hunter2@127.0.0.1/v1", "m")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match="unencrypted"):
        OpenAIChat("http://example.org/v1", "m", online=True, key="k")
    with pytest.raises(UsageError, match="printable"):
        OpenAIChat("http://127.0.0.1/v1", "m", key="a\r\nX: y")


def test_loopback_by_name_alone():
    assert all(map(is_loopback, ("localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("localhost.example.org", "0.0.0.0", "192.168.0.1", "127.1.example")))  # noqa: S104 # asked about, not bound
