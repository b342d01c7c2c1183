"""fetch_corpora.py REPOSITORY: scripts/corpora/fetch.py against servers on this machine that stall, cut off and lie."""

from __future__ import annotations

import fcntl
import fnmatch
import gzip
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from file_server import COMMIT, FINEWEB, Server, sha256
from harness import PATIENCE, check, wait_until

REPOSITORY = Path(sys.argv[1])
SCRIPTS = REPOSITORY / "scripts" / "corpora"
sys.path.insert(0, str(SCRIPTS))
from botocore_doc import WHEEL, parts_of, services  # noqa: E402
from download import Refused, _Redirects  # noqa: E402
from sources import HELLASWAG_PATH, SOURCES  # noqa: E402

FIRST, SECOND = "fineweb_train_000001.bin", "fineweb_train_000002.bin"
VAL = "fineweb_val_000000.bin"

# The script, with other pins: its own are of files that are not here.
RUNNER = """
import json, os, sys
sys.path.insert(0, sys.argv.pop(1))
import fetch
for name, value in json.loads(os.environ["PINS"]).items():
    setattr(fetch, name, value)
fetch.PINNED = {tuple(key.split("/")): value for key, value in fetch.PINNED.items()}
sys.exit(fetch.main())
"""


def shard(number: int) -> bytes:
    tokens = [(number * 7919 + i) % 50257 for i in range(2000)]
    return struct.pack("<256i", 20240520, 1, len(tokens), *[0] * 253) + struct.pack(f"<{len(tokens)}H", *tokens)


class Bench:
    """A folder to fetch into, and the servers."""

    def __init__(self, folder: Path) -> None:
        self.server, self.folder, self.count = Server(), folder, 0
        for number in range(1, 5):
            self.server.add(FINEWEB, f"fineweb_train_{number:06d}.bin", shard(number))
        self.server.add(FINEWEB, VAL, shard(0))
        self.server.add(FINEWEB, "README.md", b"about", large=False)
        vocabulary = {"vocab.json": b'{"a": 0}', "merges.txt": b"#version: 0.2\n", "config.json": b"{}", "tokenizer.json": b"{}"}
        for name, data in vocabulary.items():
            self.server.add("openai-community/gpt2", name, data, large=False)
        self.server.add("openai-community/gpt2", "model.safetensors", b"weights" * 999)
        items = b'{"ctx": "a"}\n'
        self.server.files[HELLASWAG_PATH] = items
        self.pins = {"PINNED": {f"gpt2/{name}": sha256(vocabulary[name]) for name in ("vocab.json", "merges.txt")},
                     "HELLASWAG_BYTES": len(items), "HELLASWAG_SHA256": sha256(items)}

    def new(self) -> Path:
        """An empty place, and servers that behave."""
        self.server.clear()
        self.count += 1
        self.out = self.folder / f"data-{self.count}"
        return self.out

    def start(self, *arguments: str, env: dict[str, str] = {}, **options: object) -> subprocess.Popen:
        command = [sys.executable, "-c", RUNNER, str(SCRIPTS), "--out", str(self.out), "--timeout", str(PATIENCE), "--pause", "0", "--github", self.server.url]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"HF_ENDPOINT": self.server.url, "HF_TOKEN": "secret", "PINS": json.dumps(self.pins), **env}
        return subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)

    def run(self, *arguments: str, code: int = 0, says: tuple[str, ...] = (), **options: object) -> str:
        process = self.start(*arguments, **options)
        said = process.communicate(timeout=PATIENCE)[0]
        check(process.returncode == code, f"{arguments}: expected exit {code}, got {process.returncode}:\n{said}")
        for part in says:
            check(part in said, f"{arguments}: {part!r} is not in:\n{said}")
        return said

    def shards(self, *arguments: str, **options: object) -> str:
        return self.run("fineweb-10b", "--jobs", "1", *(arguments or ("--shards", "1")), **options)

    def path(self, name: str) -> Path:
        return self.out / "fineweb10B" / name

    def whole(self, *names: str) -> None:
        for name in names:
            check(self.path(name).read_bytes() == self.server.files[f"{FINEWEB}/{name}"], f"{name} is not what the server has")
        check(not list(self.out.rglob("*.part")), "parts are left")

    def refuses(self, fault: object, *says: str, tries: int = 1, left: bool = False) -> None:
        """With this fault in every answer the command fails, says so, gives the file no name and leaves no part but one that can be gone on from."""
        self.new()
        self.server.faults[FIRST] = [fault] * 99
        self.shards("--shards", "1", "--tries", str(tries), code=1, says=says)
        check(not self.path(FIRST).exists() and self.path(VAL).exists(), f"{fault}: {FIRST} is there, or the other file is not")
        check(bool(list(self.out.rglob("*.part"))) == left, f"{fault}: parts: {list(self.out.rglob('*.part'))}")

    def mends(self, *faults: object, says: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> list[dict]:
        """With these faults in the first answers it succeeds; returns the headers of its requests for the file to the host that has it."""
        self.new()
        self.server.faults[FIRST] = list(faults)
        self.shards("--shards", "1", *options, says=says)
        self.whole(FIRST, VAL)
        return [headers for path, headers in self.server.other.log if path.endswith(FIRST)]


def names_of_presets(bench: Bench) -> None:
    """What configurations name is what is fetched."""
    for config in (REPOSITORY / "configs").glob("*.json"):
        for folder, pattern in re.findall(r'"data/(\w*fineweb\w*)/([\w*.]+)"', config.read_text()):
            found = [source for source in SOURCES.values() if source.folder == folder]
            check(len(found) == 1, f"{config.name}: nothing fetches data/{folder}")
            name = f"{found[0].shards}_{'val' if '_val_' in pattern else 'train'}_000001.bin"
            check(fnmatch.fnmatch(name, pattern), f"{config.name}: {pattern} does not find {name}")


def as_it_should_be(bench: Bench) -> None:
    server = bench.server
    bench.new()
    bench.shards("--shards", "2", says=("fineweb-10b: complete", "gpt2-vocabulary: complete"))
    bench.whole(VAL, FIRST, SECOND)
    check(not bench.path("fineweb_train_000003.bin").exists(), "more was fetched than was asked for")
    check(sorted(path.name for path in (bench.out / "gpt2").iterdir()) == ["SHA256SUMS", "merges.txt", "vocab.json"], "the vocabulary")
    sums = bench.path("SHA256SUMS").read_text()
    check(f"# {len(shard(1))} bytes, {FINEWEB} at {COMMIT}\n{sha256(shard(1))}  {FIRST}\n" in sums, sums)
    for folder in (bench.out / "fineweb10B", bench.out / "gpt2"):
        subprocess.run(["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"], cwd=folder, check=True)
    check(any(f"/resolve/{COMMIT}/" in path for path, _ in server.log), "files are asked for by the commit")
    check({headers.get("Authorization") for path, headers in server.log if "fineweb" in path} == {"Bearer secret"}, "the token goes to the hub")
    check(all("Authorization" not in headers for _, headers in server.other.log), "the token does not go to another host")

    server.clear()
    bench.shards("--shards", "2")
    check(not server.log and not server.other.log, "the second call asked the network")
    bench.shards("--shards", "3")
    check([path.rsplit("/", 1)[-1] for path, _ in server.other.log] == ["fineweb_train_000003.bin"], "one shard more was not one file more")
    bench.shards("--jobs", "3")
    server.clear()
    bench.shards("--jobs", "1")
    bench.shards("--shards", "1")
    check(not server.log and not server.other.log, "the second call for all asked the network")
    bench.run("fineweb-10b", "--shards", "9", code=1, says=("has 4 training shards, --shards asks for 9",))

    server.clear()
    bench.run("gpt2", "hellaswag", "--dry-run", says=("gpt2: 2 files", "hellaswag: 1 files"))
    check(not (bench.out / "gpt2/model.safetensors").exists(), "--dry-run fetched")
    bench.run("gpt2", "hellaswag")
    check((bench.out / "gpt2/model.safetensors").read_bytes() == b"weights" * 999, "weights")
    check((bench.out / "hellaswag/hellaswag_val.jsonl").exists() and not (bench.out / "gpt2/tokenizer.json").exists(), "what is fetched")
    bench.new()
    bench.run("gpt2", "--revision", "v1.0")
    check(any(path.endswith("/revision/v1.0") for path, _ in server.log), "the revision is not asked for")


def what_another_try_mends(bench: Bench) -> None:
    size = len(shard(1))
    headers = bench.mends("cut", "cut", says=("cut off after",))
    check([one.get("Range") for one in headers] == [None, f"bytes={size // 2}-", f"bytes={size // 2 + (size - size // 2) // 2}-"], f"ranges: {headers}")
    check(headers[1].get("If-Range") == '"one"', "no If-Range")
    # A slow machine may seem to stall elsewhere, too: tries enough, and no matter how many are needed.
    headers = bench.mends("stall", says=("nothing arrived for 0.5 s",), options=("--timeout", "0.5", "--tries", "99"))
    check(f"bytes={size // 2}-" in [one.get("Range") for one in headers], "after a stall")
    bench.mends("cut", "another", says=("changed on the server meanwhile",))
    check(len(bench.mends("cut", "no ranges", says=("no ranges",))) == 2, "of an answer without ranges not all was taken")
    bench.mends("zeros", says=("what arrived has the SHA-256",))
    bench.mends("cut", "zeros", says=("what arrived has the SHA-256",))
    bench.mends("cut", lambda server, request, data, begin: server.send(request, 206, data[begin - 1 :], Content_Range=f"bytes {begin - 1}-{size - 1}/{size}"),
                says=("the server sends bytes",))
    bench.mends("cut", (416, {}), says=("(416)",))
    bench.mends((503, {"Retry_After": "0"}), (429, {}), (500, {}), says=("busy (503)", "busy (429)", "failed (500)"))
    bench.mends((429, {"Retry_After": "Mon, 01 Jan 2024 00:00:00 GMT"}), says=("busy (429)",))

    def chunked(server: Server, request: BaseHTTPRequestHandler, data: bytes, begin: int, more: bytes = b"") -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for piece in (data[:700], data[700:], more):
            if piece:
                request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    bench.mends(chunked)
    bench.refuses(lambda *arguments: chunked(*arguments, more=b"more"), "sends more than", left=True)


def what_it_does_not(bench: Bench) -> None:
    send = Server.send
    for fault in ("stall", "trickle"):
        bench.new()
        bench.server.faults[FIRST] = [fault] * 99
        bench.shards("--shards", "1", "--tries", "3", "--timeout", "0.5", code=1, says=("0.5 s; given up after 3 tries",))
        check(not bench.path(FIRST).exists(), f"{fault}: {FIRST} is there")
    bench.refuses("cut", "given up after 3 tries", tries=3, left=True)
    bench.refuses("zeros", "has the SHA-256", "twice", tries=9)
    bench.refuses(lambda server, request, data, begin: send(request, 200, b"<html>log in</html>", Content_Type="text/html"), "answered with a web page")
    bench.refuses(lambda server, request, data, begin: send(request, 200, data + b"x"), f"announces {len(shard(1)) + 1} bytes")
    bench.refuses(lambda server, request, data, begin: send(request, 200, data, Content_Encoding="gzip"), "answered in gzip")
    bench.refuses((404, {}), "not there (404)")
    bench.refuses((403, {}), "refused (403)", "the token in HF_TOKEN")
    bench.refuses((503, {"Retry_After": "9999"}), "asks to come back after 9999 s")
    bench.refuses((503, {}), "busy (503); given up after 2 tries", tries=2)
    bench.refuses(("redirect", "file:///etc/passwd"), "'file:///etc/passwd' is not allowed")
    bench.refuses(("redirect", f"/{FINEWEB}/resolve/{COMMIT}/{FIRST}"), "infinite loop")

    request = urllib.request.Request("https://a.test/x")
    for target in ("http://a.test/x", "ftp://a.test/x"):
        try:
            _Redirects().redirect_request(request, None, 302, "Found", {}, target)
        except Refused:
            continue
        check(False, f"https was left for {target}")
    request.add_unredirected_header("Authorization", "Bearer secret")
    for target, token in (("https://a.test/y", "Bearer secret"), ("https://b.test/y", None)):
        new = _Redirects().redirect_request(request, None, 307, "Found", {}, target)
        check(new.get_header("Authorization") == token, f"the token at {target}")


def interfaces(bench: Bench) -> None:
    """What the host says of its files."""
    entry = {"path": FIRST, "size": 10**15, "lfs": {"oid": "0" * 64, "size": 10**15}}
    val = {"path": VAL, "size": 9, "lfs": {"oid": "0" * 64, "size": 9}}
    for change, says in ((b"<html>", "no JSON (it begins '<html>')"), ({}, "no listing"), ([], "lists no fineweb_train_NNNNNN.bin"),
                         ([{"path": FIRST}, val], "without its size and hash"), ([entry, val], "and the disk has")):
        bench.new()
        bench.server.changes[f"tree/{COMMIT}"] = change
        bench.shards(code=1, says=(says,))
    bench.new()
    bench.server.changes["revision/main"] = {}
    bench.shards(code=1, says=("names no commit",))
    bench.new()
    bench.run("fineweb-10b", env={"HF_ENDPOINT": "huggingface.co"}, code=2, says=("HF_ENDPOINT=huggingface.co is no address",))
    closed = Server()
    closed.http.shutdown()
    closed.http.server_close()
    bench.shards("--tries", "2", env={"HF_ENDPOINT": closed.url}, code=1, says=("refused; given up after 2 tries",))
    # Through a proxy: the address is one that nothing else could find.
    bench.run("gpt2-vocabulary", env={"HF_ENDPOINT": "http://hub.invalid", "http_proxy": bench.server.url, "no_proxy": ""}, says=("HF_TOKEN is not sent",))
    check(all("Authorization" not in headers for _, headers in bench.server.log if headers["Host"] == "hub.invalid"), "a token went over http")

    for name in ("vocab.json", "merges.txt"):  # git's hash is right, the pinned one is not
        bench.new()
        pins, bench.pins = bench.pins, {**bench.pins, "PINNED": {**bench.pins["PINNED"], f"gpt2/{name}": "0" * 64}}
        bench.run("gpt2-vocabulary", code=1, says=(name, "twice"))
        bench.pins = pins
    bench.new()
    bench.server.changes["config.json"] = b"[]"  # neither a pin nor a SHA-256 knows it
    bench.run("gpt2", code=1, says=("has git's hash",))
    bench.new()
    pins, bench.pins = bench.pins, {**bench.pins, "PINNED": {"gpt2/model.safetensors": "0" * 64}}
    bench.run("gpt2", code=1, says=("do not trust this host",))
    bench.pins = pins

    bench.new()
    bench.server.add(FINEWEB, FIRST, b"no shard at all")
    bench.shards(code=1, says=("is as its host has it and no shard of llm.c",))
    bench.server.add(FINEWEB, FIRST, shard(1))


def what_is_here(bench: Bench) -> None:
    """Files that were there before, and what becomes of them."""
    bench.new()
    bench.path("").mkdir(parents=True)
    bench.path(FIRST).write_bytes(shard(1))
    bench.shards(says=(f"{FIRST}: is here already",))
    check(not bench.server.asked(FIRST), "a file that was there was fetched")
    bench.new()
    bench.path("").mkdir(parents=True)
    bench.path(FIRST).write_bytes(shard(2))
    bench.shards(code=1, says=("has the SHA-256", "move it away"))
    check(bench.path(FIRST).read_bytes() == shard(2), "a file of the user's was touched")

    bench.new()
    bench.shards()
    bench.path(FIRST).write_bytes(shard(2))
    bench.shards(code=0)  # as long as the other
    bench.shards("--shards", "1", "--check", code=1, says=("has the SHA-256", "remove the file"))
    bench.path(FIRST).write_bytes(shard(2)[:-2])
    bench.shards(code=1, says=("has 5022 bytes and not 5024",))
    bench.path(FIRST).unlink()
    bench.shards()
    bench.shards("--shards", "1", "--check", says=("checked in",))
    bench.server.add(FINEWEB, FIRST, shard(9))  # the host has another file now, under the commit of before
    bench.path(FIRST).unlink()
    bench.shards(code=1, says=("lists another file than",))
    bench.server.add(FINEWEB, FIRST, shard(1))
    bench.path("SHA256SUMS").write_text("mine\n")
    bench.shards(code=1, says=("not as this script writes it",))

    bench.new()
    bench.path("").mkdir(parents=True)
    handle = os.open(bench.path(""), os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    bench.shards(code=1, says=("another fetch.py works there",))
    os.close(handle)

    bench.new()  # a disk that takes no more
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    bench.shards(code=1, says=("File too large; make room",), preexec_fn=limit)
    bench.shards()
    bench.whole(FIRST, VAL)


def stopped(bench: Bench) -> None:
    """By a signal, in the middle of a file."""
    for number, code, says in ((signal.SIGINT, 130, "goes on from what has arrived"), (signal.SIGKILL, -signal.SIGKILL, "")):
        bench.new()
        bench.server.faults[FIRST] = ["stall"]
        stalls = bench.server.stalls
        process = bench.start("fineweb-10b", "--shards", "1", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        part = f"{FIRST}.{sha256(shard(1))[:12]}.part"
        wait_until(lambda: bench.server.stalls > stalls and bench.path(VAL).exists() and bench.path(part).exists() and bench.path(part).stat().st_size == len(shard(1)) // 2, "half a file")
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE)[0]
        check(process.returncode == code and says in said, f"signal {number}: exit {process.returncode}:\n{said}")
        bench.server.clear()
        bench.shards()
        bench.whole(FIRST, VAL)
        check(bench.server.asked(FIRST)[-1].get("Range") == f"bytes={len(shard(1)) // 2}-", "not gone on")
        check(len(bench.server.asked(VAL)) == 0, "what was whole was fetched again")


def a_pinned_text(bench: Bench) -> None:
    """botocore_doc.py: of each service the newest description, without markup, each sentence once; and no other wheel than the one that is pinned."""
    wheel = bench.folder / WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {
            "s3/2006-03-01": {"documentation": "old"},
            "s3/2016-03-01": {"operations": {"Put": {"documentation": "<p>Puts &amp;\n keeps.</p>", "shape": {"documentation": "<b>Shared</b>"}}}, "documentation": ""},
            "ec2/2016-11-15": {"shapes": [{"documentation": "Shared"}, {"documentation": "<p>Runs</p>"}]},
        }.items():
            archive.writestr(f"botocore/data/{name}/service-2.json.gz", gzip.compress(json.dumps(text).encode()))
        archive.writestr("botocore/data/s3/2016-03-01/waiters-2.json", "{}")
    check(services(wheel) == [["Puts & keeps.", "Shared"], ["Runs"]], f"{services(wheel)}")
    many = [[f"text {i} of {j}" for i in range(100)] for j in range(3)]
    parts = {name: [json.loads(line)["text"].split("\n") for line in data.splitlines()] for name, data in parts_of(many).items()}
    check(len(parts["train.jsonl"]) == len(parts["val.jsonl"]) == 3 and 3 <= sum(map(len, parts["val.jsonl"])) <= 40, f"{parts['val.jsonl']}")
    check(all(sorted(a + b) == sorted(texts) for a, b, texts in zip(parts["train.jsonl"], parts["val.jsonl"], many)), "each text in one of the files")
    folder = bench.folder / "text"
    done = subprocess.run([sys.executable, "-B", SCRIPTS / "botocore_doc.py", folder, "--wheel", wheel], capture_output=True, text=True)
    check(done.returncode == 3 and f"{wheel} has the SHA-256" in done.stderr and not folder.exists(), done.stderr)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        bench = Bench(Path(folder))
        for test in (names_of_presets, as_it_should_be, what_another_try_mends, what_it_does_not, interfaces, what_is_here, stopped, a_pinned_text):
            test(bench)
            print(f"{test.__name__}: ok", flush=True)
        bench.server.held.set()


if __name__ == "__main__":
    main()
