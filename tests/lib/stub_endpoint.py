"""A server in a thread that answers chat completions as a test says, and keeps what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Told = tuple[int, Any]
"""Status and body: bytes are sent as they are, anything else as JSON."""


class Stub:
    """Answers by ``answer(number of the request, its body)``; ``bodies`` and ``headers`` are those of all requests."""

    def __init__(self, answer: Callable[[int, dict[str, Any]], Told]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self._lock = threading.Lock()

    def told(self, body: dict[str, Any], headers: dict[str, str]) -> Told:
        with self._lock:
            self.bodies.append(body)
            self.headers.append(headers)
            number = len(self.bodies)
        return self.answer(number, body)

    @property
    def texts(self) -> list[str]:
        """The reports that were sent."""
        return [body["messages"][1]["content"].removeprefix("Report:\n") for body in self.bodies]


def chat(content: str | None, **more: Any) -> Told:
    """Return an answer whose text is ``content``; ``finish_reason`` and ``refusal`` as given."""
    message = {"role": "assistant", "content": content, "refusal": more.get("refusal")}
    return 200, {"choices": [{"message": message, "finish_reason": more.get("finish_reason", "stop")}]}


@contextmanager
def stub_endpoint(answer: Callable[[int, dict[str, Any]], Told]) -> Iterator[Stub]:
    stub = Stub(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, told = stub.told({"path": self.path, **body}, dict(self.headers))
            data = told if isinstance(told, bytes) else json.dumps(told).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # who asked has gone

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
