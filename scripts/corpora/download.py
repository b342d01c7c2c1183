"""Fetches files over HTTP: a file gets its name when it has the length and the hash that were expected, and not before.

Meanwhile it is called NAME.HASH.part, and a later try goes on from what has arrived, whether it is in the same process or not. A server may
stall, cut off, refuse ranges, change the file or send something else: what another try can mend is tried again, a bounded number of
times; what it cannot ends with a message that says what to do.
"""

from __future__ import annotations

import contextlib
import email.utils
import errno
import hashlib
import http.client
import json
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

CHUNK = 1 << 20
MOST_JSON = 64 << 20  # bytes of a listing
WORTHWHILE = 1 << 20  # bytes after which a line that broke has done enough to be tried anew as often as at first
SLOWEST = 1024  # bytes a second; what comes more slowly over a whole timeout has stalled
LONGEST_PAUSE = 60.0  # seconds between tries
LONGEST_WAIT = 600.0  # seconds that a server may ask for


class Refused(Exception):
    """No further try would help. The message names the file or the address, what is wrong and what to do."""


class DiskFull(Refused):
    """The other files would fail in the same way."""


class Passing(Exception):
    """A try that failed; another may not. `wait`: seconds that the server asked for. `restart`: what has arrived is of no use."""

    def __init__(self, message: str, wait: float | None = None, restart: bool = False) -> None:
        super().__init__(message + ("; from the beginning" if restart else ""))
        self.wait, self.restart = wait, restart


class Stopped(Exception):
    """The user's wish."""


@dataclass(frozen=True)
class Wanted:
    """A file, where it is and where it goes. One of the hashes at least is known, and all that are must be right."""

    url: str
    path: Path
    size: int
    sha256: str | None = None
    blob: str | None = None  # git's SHA-1 of a file

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.{(self.sha256 or self.blob)[:12]}.part")


def digests(path: Path, stop: threading.Event | None = None) -> tuple[str, str]:
    """The SHA-256 of a file and git's hash of it."""
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            if stop is not None and stop.is_set():
                raise Stopped
            sha256.update(piece)
            blob.update(piece)
    return sha256.hexdigest(), blob.hexdigest()


def difference(path: Path, wanted: Wanted, stop: threading.Event | None = None) -> tuple[str, str | None]:
    """(SHA-256, what about the file at `path` is not as wanted or None)."""
    size = path.stat().st_size
    sha256, blob = digests(path, stop)
    if size != wanted.size:
        return sha256, f"has {size} bytes and not {wanted.size}"
    if wanted.sha256 and sha256 != wanted.sha256:
        return sha256, f"has the SHA-256 {sha256} and not {wanted.sha256}"
    if wanted.blob and blob != wanted.blob:
        return sha256, f"has git's hash {blob} and not {wanted.blob}"
    return sha256, None


def origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Leaves https for nothing else, and takes a token along to its own host only."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(self, request, body, code, message, headers, target):  # noqa: ANN001, ANN201
        allowed = ("https",) if request.full_url.startswith("https:") else ("http", "https")
        if urlsplit(target).scheme not in allowed:
            raise Refused(f"{request.full_url}: redirects to {target}; from there only {' or '.join(allowed)} is followed")
        new = super().redirect_request(request, body, code, message, headers, target)
        token = request.unredirected_hdrs.get("Authorization")
        if new is not None and token and origin(target) == origin(request.full_url):
            new.add_unredirected_header("Authorization", token)
        return new


class Client:
    """`timeout`: seconds without an answer, or at less than SLOWEST, after which a try has failed. `tries`: so many in a row without getting
    further. `pause`: seconds before the second, doubled before each one more. `token`: for the host of `endpoint` alone."""

    def __init__(self, timeout: float, tries: int, pause: float, endpoint: str, token: str | None, say: Callable[[str], None]) -> None:
        self.timeout, self.tries, self.pause, self.say = timeout, tries, pause, say
        self.endpoint, self.token = endpoint, token
        self.stop = threading.Event()
        self._tags: dict[Path, str | None] = {}  # the server's, of what has arrived in a part
        self._opener = urllib.request.build_opener(_Redirects)

    @contextlib.contextmanager
    def _open(self, url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Failures, also those while it is read, become Passing or Refused."""
        request = urllib.request.Request(url, headers={"User-Agent": "temper-fetch", "Accept-Encoding": "identity", **headers})
        if self.token and origin(url) == origin(self.endpoint):
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                coding = response.headers.get("Content-Encoding", "identity")
                if coding != "identity":
                    raise Refused(f"{url}: answered in {coding}, which was not asked for")
                yield response
        except urllib.error.HTTPError as error:
            with error:
                raise self._answer(url, error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Refused(f"{url}: {reason}; where a proxy has a certificate of its own, name its authority by SSL_CERT_FILE") from None
            if isinstance(reason, TimeoutError):
                raise Passing(f"nothing arrived for {self.timeout:g} s") from None
            raise Passing(str(reason) or type(reason).__name__) from None

    def _answer(self, url: str, error: urllib.error.HTTPError) -> Exception:
        """What an answer that is no success means."""
        code = error.code
        if code in (401, 403):
            return Refused(f"{url}: refused ({code}); " + ("the token in HF_TOKEN does not open it" if self.token else "a token in HF_TOKEN may open it"))
        if code in (404, 410):
            return Refused(f"{url}: not there ({code}); it may have been moved or renamed: see docs/data.md for other ways to the same data")
        if code == 416:
            return Passing("the server has nothing from that place on (416)", restart=True)
        if code in (408, 425, 429) or code >= 500:
            asked = error.headers.get("Retry-After")
            wait = _seconds(asked)
            if wait is not None and wait > LONGEST_WAIT:
                return Refused(f"{url}: busy ({code}), and asks to come back after {wait:.0f} s; run the same command again then")
            return Passing(f"busy ({code})" if code in (429, 503) else f"failed ({code})", wait)
        return Refused(f"{url}: answered {code} {error.reason}")

    def _again(self, what: str, failures: int, error: Passing) -> None:
        """Waits before the next try, or gives up."""
        if failures >= self.tries:
            raise Refused(f"{what}: {error}; given up after {failures} {'tries' if failures > 1 else 'try'}; the same command goes on from what has arrived")
        wait = error.wait if error.wait is not None else min(self.pause * 2 ** (failures - 1), LONGEST_PAUSE)
        self.say(f"{what}: {error}; trying again" + (f" in {wait:.0f} s" if wait >= 1 else ""))
        if self.stop.wait(wait):
            raise Stopped

    def json(self, url: str) -> tuple[object, str | None]:
        """(the value, the address of the next page of it or None)"""
        failures = 0
        while True:
            try:
                with self._open(url, {"Accept": "application/json"}) as response:
                    body = response.read(MOST_JSON + 1)
                    announced = response.headers.get("Content-Length")
                    following = re.search(r'<([^>]*)>\s*;\s*rel="?next"?', response.headers.get("Link", ""))
                if announced and announced.isdigit() and len(body) < min(int(announced), MOST_JSON):
                    raise Passing(f"cut off after {len(body)} of {announced} bytes")
                break
            except Passing as error:
                failures += 1
                self._again(url, failures, error)
        if len(body) > MOST_JSON:
            raise Refused(f"{url}: the listing has more than {MOST_JSON} bytes")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise Refused(f"{url}: answered with no JSON ({_start(body)}); is HF_ENDPOINT a host with Hugging Face's interface?") from None
        # On this host, also where a mirror hands on what the other says.
        return value, urljoin(url, urlsplit(following[1])._replace(scheme="", netloc="").geturl()) if following else None

    def fetch(self, wanted: Wanted, arrived: Callable[[int], None]) -> str:
        """The file, under its name; returns its SHA-256. `arrived` is told bytes, less than 0 where some are thrown away."""
        name, part = wanted.path.name, wanted.part
        failures, wrong, furthest = 0, 0, 0
        while True:
            have = part.stat().st_size if part.exists() else 0
            if have > wanted.size:
                _discard(part, arrived)
                have = 0
            try:
                if have < wanted.size:
                    self._continue(wanted, have, arrived)
                sha256, wrong_about = difference(part, wanted, self.stop)
                if wrong_about is None:
                    break
                wrong += 1
                if wrong == 2:
                    _discard(part, arrived)
                    raise Refused(f"{name}: what {wanted.url} sends {wrong_about}, twice; a proxy or mirror may be at fault: try another")
                raise Passing(f"what arrived {wrong_about}", restart=True)
            except Passing as error:
                if error.restart:
                    _discard(part, arrived)
                    self._tags.pop(part, None)
                now = part.stat().st_size if part.exists() else 0
                failures = 1 if now >= furthest + WORTHWHILE else failures + 1
                furthest = max(furthest, now)
                self._again(name, failures, error)
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        part.rename(wanted.path)
        return sha256

    def _continue(self, wanted: Wanted, have: int, arrived: Callable[[int], None]) -> None:
        """Adds what is missing to the part."""
        headers, tag = {"Range": f"bytes={have}-"} if have else {}, self._tags.get(wanted.part)
        if have and tag:
            headers["If-Range"] = tag
        with self._open(wanted.url, headers) as response:
            new_tag = response.headers.get("ETag")
            new_tag = new_tag if new_tag and not new_tag.startswith("W/") else None
            changed = bool(tag and new_tag and tag != new_tag)
            have = self._check_head(wanted, response, have, changed, arrived)
            self._tags[wanted.part] = new_tag
            self._copy(wanted, response, have, arrived)

    def _check_head(self, wanted: Wanted, response: http.client.HTTPResponse, have: int, changed: bool, arrived: Callable[[int], None]) -> int:
        """Whether this is the file, and from which byte on."""
        kind = response.headers.get_content_type()
        if kind == "text/html":
            raise Refused(f"{wanted.url}: answered with a web page and not with the file; is a proxy or a login in between?")
        if response.status == 206:
            sent = response.headers.get("Content-Range", "")
            found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", sent.strip())
            if not found or int(found[1]) != have or found[3] not in ("*", str(wanted.size)):
                raise Passing(f"asked for the bytes from {have} on, the server sends {sent or 'it does not say which'}", restart=True)
            if changed:
                raise Passing("changed on the server meanwhile", restart=True)
        elif response.status == 200:
            if have:
                self.say(f"{wanted.path.name}: the server sends no ranges, or another file than before; from the beginning")
                _discard(wanted.part, arrived)
                have = 0
        else:
            raise Refused(f"{wanted.url}: answered {response.status}")
        length = response.headers.get("Content-Length")
        if length is not None and length != str(wanted.size - have):
            raise Refused(f"{wanted.url}: announces {length} bytes ({kind}), {wanted.size - have} were expected; is it another file by now?")
        return have

    def _copy(self, wanted: Wanted, response: http.client.HTTPResponse, have: int, arrived: Callable[[int], None]) -> None:
        since, got = time.monotonic(), 0
        with _on_disk(wanted.part):
            file = open(wanted.part, "ab", buffering=0)  # what has arrived is in the file, however the process ends
        with file:
            while have < wanted.size:
                piece = response.read1(min(CHUNK, wanted.size - have))  # what there is, so that a trickle is seen as one
                if self.stop.is_set():
                    raise Stopped
                if not piece:
                    raise Passing(f"cut off after {have} of {wanted.size} bytes")
                view = memoryview(piece)
                while view:
                    with _on_disk(wanted.part):
                        view = view[file.write(view) :]
                have += len(piece)
                got += len(piece)
                arrived(len(piece))
                if time.monotonic() - since > self.timeout:
                    if got < SLOWEST * self.timeout and have < wanted.size:
                        raise Passing(f"only {got} bytes arrived within {self.timeout:g} s")
                    since, got = time.monotonic(), 0
            if response.headers.get("Content-Length") is None and response.read1(1):
                raise Refused(f"{wanted.url}: sends more than {wanted.size} bytes; is it another file by now?")


@contextlib.contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Errors of this machine's disk, which are also OSErrors, are none of the server's."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise DiskFull(f"{path}: {error.strerror}; " + ("make room, and the same command goes on" if full else "see to it and run again")) from None


def _discard(part: Path, arrived: Callable[[int], None]) -> None:
    if part.exists():
        arrived(-part.stat().st_size)
        part.unlink()


def _seconds(asked: str | None) -> float | None:
    """Retry-After: seconds or a date."""
    if asked is None:
        return None
    if asked.strip().isdigit():
        return float(asked)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _start(body: bytes) -> str:
    text = re.sub(r"[^\x20-\x7e]+", " ", body[:60].decode("latin-1")).strip()
    return f"it begins {text!r}" if text else "nothing"
