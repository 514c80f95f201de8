"""A chat model behind an OpenAI-compatible server (vLLM, llama.cpp, a cloud), over the standard library alone.

Local first: a server that is not on this machine is only reached when the network was asked for. Nothing is followed or
retried: no redirect, no proxy from the environment. The reply is bounded in bytes and in time and is handed back as
text, to be treated as data.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vesalius.errors import BadInputError, MissingError, ResourceError, UsageError

#: Environment variable with the key; a name of its own, so that a key meant for one cloud is not sent to any server.
KEY = "VESALIUS_OPENAI_KEY"
#: Largest reply that is read.
MOST_BYTES = 1_000_000
_FORM = "the form is openai:http://HOST:PORT/v1#MODEL"


@dataclass(frozen=True)
class OpenAIChat:
    """One model of one server.

    Args:
        url: Base address, `http://127.0.0.1:8000/v1`.
        model: The server's name of the model.
        online: Allow a server that is not on this machine.
        timeout: Seconds for one whole exchange.
        key: Bearer token; by default from `$VESALIUS_OPENAI_KEY`. Never shown, and never sent unencrypted over a
            network.

    Raises:
        UsageError: The address makes no sense, or would need the network unasked.
    """

    url: str
    model: str
    online: bool = False
    timeout: float = 60.0
    key: str = field(default_factory=lambda: os.environ.get(KEY, ""), repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError as error:
            raise UsageError("not an address of a chat server", why=str(error), fix=_FORM) from error
        if parts.username is not None or parts.password is not None:
            # Not repeated in the message: it may hold a secret.
            raise UsageError("an address must not hold a name or password", fix=f"put the key into ${KEY}")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
            raise UsageError("not an address of a chat server", item=self.url, fix=_FORM)
        if not self.model:
            raise UsageError("which model of the server?", item=self.url, fix=_FORM)
        if not is_loopback(parts.hostname):
            if not self.online:
                raise UsageError("will not use the network unasked", item=parts.hostname, fix="pass --online")
            if self.key and parts.scheme != "https":
                raise UsageError("will not send a key unencrypted", item=parts.hostname, fix="use https")
        if not self.key.isascii() or not (self.key.isprintable() or not self.key):
            raise UsageError("the key of the chat server is not printable text", item=f"${KEY}")

    @classmethod
    def from_name(cls, name: str, *, online: bool = False, timeout: float = 60.0) -> OpenAIChat:
        """From `openai:http://127.0.0.1:8000/v1#model`."""
        if not name.startswith("openai:"):
            raise UsageError("not an openai: model", item=name, fix=_FORM)
        url, _, model = name[len("openai:") :].partition("#")
        return cls(url, model, online=online, timeout=timeout)

    def ask(self, question: str, *, most_tokens: int = 512) -> str:
        """The reply to one question."""
        return self.chat([{"role": "user", "content": question}], most_tokens=most_tokens)

    def chat(self, messages: Sequence[Mapping[str, str]], *, most_tokens: int = 512) -> str:
        """The reply to a conversation, as the server's most likely words.

        Raises:
            MissingError: The server cannot be reached, or does not answer with success.
            ResourceError: The reply takes too long or is too large.
            BadInputError: The reply is not what the protocol says.
        """
        body = {
            "model": self.model, "messages": [dict(m) for m in messages], "temperature": 0, "max_tokens": most_tokens,
            "stream": False,
        }  # fmt: skip
        raw = self._post("/chat/completions", json.dumps(body).encode())
        try:
            text = json.loads(raw)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise BadInputError(
                "reply of the chat server is not a completion", item=self.url, why=type(error).__name__
            ) from None
        if not isinstance(text, str):
            raise BadInputError("reply of the chat server holds no text", item=self.url)
        return text

    def _post(self, path: str, body: bytes) -> bytes:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port or (443 if secure else 80), timeout=self.timeout)
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        late = threading.Event()
        try:
            connection.connect()
            with _deadline(connection.sock, self.timeout, late):
                connection.request("POST", parts.path.rstrip("/") + path, body, headers)
                response = connection.getresponse()
                if response.status != http.HTTPStatus.OK:
                    # Neither the body nor the headers are repeated: a server may echo the question or the key.
                    raise MissingError("chat server refused", item=self.url, why=f"status {response.status}")
                reply = response.read(MOST_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._too_late() from None
            raise MissingError(
                "cannot talk to the chat server", item=self.url, why=type(error).__name__, fix="is it running?"
            ) from None
        finally:
            connection.close()
        if late.is_set():
            raise self._too_late()
        if len(reply) > MOST_BYTES:
            raise ResourceError("reply of the chat server is too large", item=self.url, why=f"over {MOST_BYTES} bytes")
        return reply

    def _too_late(self) -> ResourceError:
        return ResourceError("chat server took too long", item=self.url, why=f"no full reply in {self.timeout:g} s")


@contextmanager
def _deadline(sock: socket.socket, seconds: float, late: threading.Event) -> Iterator[None]:
    """Break the connection off after so much time.

    A socket's own timeout is one of each read, so a server that sends a byte now and then would never end.
    """

    def stop() -> None:
        late.set()
        with suppress(OSError):  # it may have closed just now
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, judged by the name alone; nothing is looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
