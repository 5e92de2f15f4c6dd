"""Endpoint: a server that answers chat completions as OpenAI's do; asked with patience, and never quoted.

No message here holds a word of a request, of an answer or of the key.
"""

import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from voxmix.errors import InputError, VoxmixError
from voxmix.run_settings import at_least
from voxmix.texts.this_machine import is_this_machine

_KEPT = "what was answered is kept: give the same command again to go on"
_MOST_BYTES = 1 << 22
_TRY_AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
_OF_THE_TEXT = frozenset((400, 413, 422))
_LONGEST_WAIT = 60.0


class EndpointError(VoxmixError):
    """The endpoint cannot be asked: it is down, too slow, or refuses the key, the model or the address."""


class RefusedRequestError(Exception):
    """The endpoint refuses this request and may answer others; says the status and code."""


class _Fleeting(Exception):
    """What may go away when it is tried again: the sentence if it does not, and the seconds that the server asks for."""

    def __init__(self, sentence: str, wait: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait = wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back: a text, or that the model refused, or that its answer was cut."""

    content: str = field(repr=False)
    refused: bool = False
    cut: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a language model is asked.

    Args:
        url: The address before ``/chat/completions``, e.g. http://localhost:8000/v1.
        model: The model's name, as the server lists it.
        key: Sent as a bearer token; "" sends none. Never shown.
        variable: The environment variable that the key came from, for messages.
        timeout: Seconds after which one attempt is given up.
        attempts: How often a request is tried.
        wait: Seconds before the second attempt, twice as many before each further one; a server that says how long is obeyed, up to a minute.

    Raises:
        InputError: an address that is none or holds a password, no model, a key that cannot be sent, or a number out of range.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    variable: str = "VOXMIX_API_KEY"
    timeout: float = 120.0
    attempts: int = 5
    wait: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, "attempts", 1)
        if not self.timeout > 0 or not self.wait >= 0:
            raise InputError(
                f"timeout must be above 0 and wait not below, got {self.timeout:g} and {self.wait:g}"
            )
        if not self.model.strip():
            raise InputError("the endpoint needs a model: give its name as the server lists it")
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f]", self.url):
            raise InputError(
                "the endpoint's address should look like http://localhost:8000/v1 or https://host/v1"
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError(
                "the endpoint's address holds a name, a password or a query; give the bare address, and the key in the "
                f"environment variable {self.variable}"
            )
        if not self.key.isascii() or not self.key.isprintable():
            raise InputError(f"the key in {self.variable} holds characters that cannot be sent; set it again")

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, so that no text leaves it."""
        return is_this_machine(urlsplit(self.url).hostname or "")

    @property
    def in_the_clear(self) -> bool:
        """Whether texts and key travel unencrypted to another machine."""
        return not self.is_local and urlsplit(self.url).scheme == "http"

    def ask(self, messages: list[dict[str, str]], *, stop: threading.Event | None = None) -> Reply:
        """Return the answer to messages, tried again while that can help.

        Raises:
            EndpointError: no answer can be had from this endpoint; one sentence on why.
            RefusedRequestError: not for these messages.
        """
        stop = stop or threading.Event()
        for attempt in range(1, self.attempts + 1):
            try:
                return self._once(messages)
            except _Fleeting as fault:
                pause = min(max(fault.wait, self.wait * 2 ** (attempt - 1)), _LONGEST_WAIT)
                if attempt == self.attempts or stop.wait(pause):
                    times = f", {attempt} times" if attempt > 1 else ""
                    raise EndpointError(f"{self.place} {fault.args[0]}{times}; {_KEPT}") from None
        raise AssertionError

    def _once(self, messages: list[dict[str, str]]) -> Reply:
        body = {"model": self.model, "messages": messages, "temperature": 0}
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions",
            data=json.dumps(body).encode("ascii"),
            headers={"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "voxmix"}
            | ({"Authorization": f"Bearer {self.key}"} if self.key else {}),
        )
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if self.is_local:  # never by a proxy
            handlers.append(urllib.request.ProxyHandler({}))
        opener = urllib.request.build_opener(*handlers)
        slow = f"did not answer within {self.timeout:g} s: give a longer --timeout, or a faster model"
        try:
            with opener.open(request, timeout=self.timeout) as response:
                data = self._read(response, slow)
        except urllib.error.HTTPError as error:
            with error:
                raise self._of_status(error) from None
        except TimeoutError:
            raise _Fleeting(slow) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Fleeting(slow) from None
            raise _Fleeting(f"cannot be reached ({_reason(error.reason)}): see that the server runs and --endpoint is right") from None  # fmt: skip
        except (http.client.HTTPException, OSError) as error:
            raise _Fleeting(f"broke off ({type(error).__name__})") from None
        return self._reply(data)

    def _read(self, response: Any, slow: str) -> bytes:
        """Return the body; a server that sends it drop by drop is given up in time too."""
        end = time.monotonic() + self.timeout
        parts: list[bytes] = []
        while part := response.read1(1 << 16):
            parts.append(part)
            if time.monotonic() > end:
                raise _Fleeting(slow)
            if sum(map(len, parts)) > _MOST_BYTES:
                raise _Fleeting("sends far more than an answer")
        return b"".join(parts)

    def _of_status(self, error: urllib.error.HTTPError) -> Exception:
        status = error.code
        if status in (401, 403):
            key = "does not take the key in" if self.key else "wants a key; set"
            return EndpointError(f"{self.place} {key} {self.variable} (HTTP {status}); {_KEPT}")
        if status in (404, 405):
            return EndpointError(
                f"{self.place} knows no such address or model (HTTP {status}): --endpoint is what stands before /chat/completions, "
                f"such as http://localhost:8000/v1, and --model a name that the server lists; {_KEPT}"
            )
        if 300 <= status < 400:
            return EndpointError(
                f"{self.place} sends on to another address (HTTP {status}); give --endpoint the final one"
            )
        said = f"HTTP {status}{_code(error)}"
        if status in _OF_THE_TEXT:
            return RefusedRequestError(said)
        if status in _TRY_AGAIN:
            what = "asks to wait" if status == 429 else "failed"
            return _Fleeting(f"{what} ({said})", _seconds(error.headers.get("Retry-After")))
        return EndpointError(f"{self.place} refused the request ({said}); {_KEPT}")

    def _reply(self, data: bytes) -> Reply:
        try:
            choice = json.loads(data)["choices"][0]
            message, finish = choice["message"], choice.get("finish_reason")
            content = message.get("content")
            if content is not None and not isinstance(content, str):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise _Fleeting("does not answer as chat completions do (see that --endpoint is right)") from None
        return Reply(
            content=content or "",
            refused=bool(message.get("refusal")) or finish == "content_filter",
            cut=finish == "length",
        )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would take texts and key to a host that was not named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _code(error: urllib.error.HTTPError) -> str:
    """Return the server's own code of an error, where it is one word: a sentence of the server may repeat the report."""
    try:
        told = json.loads(error.read(1 << 16))["error"]
        code = told.get("code") or told.get("type")
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        http.client.HTTPException,
        RecursionError,
    ):
        return ""
    return f", {code}" if isinstance(code, str) and re.fullmatch(r"[a-z][a-z_]{1,40}", code) else ""


def _seconds(text: str | None) -> float:
    return float(text) if text and re.fullmatch(r"\d{1,4}(\.\d+)?", text) else 0.0


def _reason(reason: Any) -> str:
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused"
    if isinstance(reason, socket.gaierror):
        return "no such host"
    return type(reason).__name__
