"""Servers on this machine for fetch_corpora.py: Hugging Face's interface and files, which stall, cut off and lie as they are told."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from harness import PATIENCE

COMMIT = "ab" * 20
FINEWEB = "datasets/kjj0/fineweb10B-gpt2"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """Hugging Face's interface and files, and a host that files are redirected to. `faults` of a file are used up one a request."""

    def __init__(self, hub: "Server | None" = None) -> None:
        self.files: dict[str, bytes] = {}  # by repository's path and name
        self.large: set[str] = set()  # names that are listed with a SHA-256; others with git's hash
        self.faults: dict[str, list] = {}
        self.changes: dict[str, object] = {}  # answers of the interface, by their address's end
        self.log: list[tuple[str, dict]] = []
        self.held = threading.Event()  # stalled answers end when it is set
        self.stalls = 0
        self.hub = hub or self
        self.other = None if hub else Server(self)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *unused: object) -> None:
                pass

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    server.answer(self)
                self.close_connection = True

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def add(self, path: str, name: str, data: bytes, large: bool = True) -> None:
        self.files[f"{path}/{name}"] = data
        if large:
            self.large.add(f"{path}/{name}")

    def asked(self, end: str) -> list[dict]:
        """The headers of the requests for a file, by either host."""
        return [headers for path, headers in self.log + self.other.log if path.endswith(end)]

    def clear(self) -> None:
        self.log.clear()
        self.other.log.clear()
        self.faults.clear()
        self.changes.clear()

    @staticmethod
    def send(request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: object) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": len(body), **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            if value is not None:
                request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(body)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        path = parts.path.lstrip("/")
        self.log.append((path, {name.title(): value for name, value in request.headers.items()}))
        for end, change in self.hub.changes.items():
            if path.endswith(end):
                return self.send(request, 200, change if isinstance(change, bytes) else json.dumps(change).encode())
        if path.startswith("api/"):
            return self.interface(request, path, parts.query)
        if self is self.hub:
            fault = (self.faults.get(path.rsplit("/", 1)[-1]) or [None])[0]
            if isinstance(fault, tuple) and fault[0] == "redirect":
                return self.send(request, 302, b"", Location=fault[1])
            if path.startswith(FINEWEB):  # large files lie elsewhere
                return self.send(request, 302, b"", Location=f"{self.other.url}/{path}")
        self.file(request, path)

    def interface(self, request: BaseHTTPRequestHandler, path: str, query: str) -> None:
        repository = re.sub(r"^api/(models/)?", "", path).split("/revision/")[0].split("/tree/")[0]
        if "/revision/" in path:
            return self.send(request, 200, json.dumps({"sha": COMMIT}).encode())
        entries = []
        for name, data in sorted(self.files.items()):
            if name.startswith(repository + "/"):
                entry = {"type": "file", "path": name.rsplit("/", 1)[-1], "size": len(data), "oid": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
                if name in self.large:
                    entry |= {"oid": "0" * 40, "lfs": {"oid": sha256(data), "size": len(data)}}
                entries.append(entry)
        page = int(query.removeprefix("cursor=") or 0)
        link = f'<{self.url}/{path}?cursor={page + 2}>; rel="next"' if page + 2 < len(entries) else None
        self.send(request, 200, json.dumps(entries[page : page + 2]).encode(), Link=link)

    def file(self, request: BaseHTTPRequestHandler, path: str) -> None:
        """A file, or what a fault makes of it."""
        data = self.hub.files.get(re.sub(r"/resolve/[^/]*", "", path))
        if data is None:
            return self.send(request, 404, b"not there")
        faults = self.hub.faults.get(path.rsplit("/", 1)[-1])
        fault = faults.pop(0) if faults else None
        ranged = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        begin = int(ranged[1]) if ranged and fault != "no ranges" else 0
        if callable(fault):
            return fault(self, request, data, begin)
        if isinstance(fault, tuple):  # status, headers
            return self.send(request, fault[0], b"busy", **fault[1])
        headers = {"Content-Length": len(data) - begin, "ETag": '"one"', "Content-Type": "application/octet-stream"}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if fault == "another":
            headers["ETag"] = '"two"'
        request.send_response(206 if begin else 200)
        for name, value in headers.items():
            request.send_header(name, str(value))
        request.end_headers()
        half = begin + (len(data) - begin) // 2
        if fault in ("cut", "stall"):
            request.wfile.write(data[begin:half])
            if fault == "stall":
                self.hub.stalls += 1
                self.hub.held.wait(PATIENCE)
            return
        if fault == "trickle":
            while not self.hub.held.wait(0.02):
                request.wfile.write(b"x")
            return
        request.wfile.write(bytes(len(data) - begin) if fault == "zeros" else data[begin:])
