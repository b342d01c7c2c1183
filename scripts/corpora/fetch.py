#!/usr/bin/env python3
"""Fetches what the configurations of GPT-2's sizes train on, under the names that they use: shards of FineWeb and FineWeb-Edu, GPT-2's vocabulary
and weights, HellaSwag.

Stopped in any way, the same command goes on where it was; once everything is there it asks the network nothing. Each file is checked by the hash
that its host lists (or that stands in this script) before it gets its name, and the hashes are kept in SHA256SUMS beside the files, with the
commit they are of, from which later calls fetch what is missing. Needs Python's standard library alone.

environment:
  HF_ENDPOINT  a mirror of https://huggingface.co
  HF_TOKEN     an access token for it; sent to that host alone
  http_proxy, https_proxy, no_proxy, SSL_CERT_FILE
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import queue
import re
import shutil
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from download import Client, DiskFull, Refused, Stopped, Wanted, difference
from sources import HELLASWAG, HELLASWAG_BYTES, HELLASWAG_PATH, HELLASWAG_SHA256, PINNED, SOURCES, Source

COMMIT = re.compile(r"[0-9a-f]{40}")
MOST_PAGES = 100  # of a listing
SPARE = 64 << 20  # bytes of the disk that stay free
SHARD_MAGIC, SHARD_VERSION, SHARD_HEADER = 20240520, 1, 1024


@dataclass(frozen=True)
class Kept:
    """A line of SHA256SUMS and the comment before it."""

    sha256: str
    size: int
    origin: str  # "datasets/kjj0/fineweb10B-gpt2 at COMMIT"


class Sums:
    """SHA256SUMS of a folder, which `sha256sum -c` reads too."""

    LINES = re.compile(r"# (\d+) bytes, (.*)\n([0-9a-f]{64})  ([\w.-]+)\n")
    WHOLE = re.compile(r"# all shards, (.*)\n")

    def __init__(self, folder: Path) -> None:
        self.path = folder / "SHA256SUMS"
        self._guard = threading.Lock()
        text = self.path.read_text() if self.path.exists() else ""
        self.files = {name: Kept(sha256, int(size), origin) for size, origin, sha256, name in self.LINES.findall(text)}
        self.whole = set(self.WHOLE.findall(text))
        if text != self._text():
            raise Refused(f"{self.path}: not as this script writes it; move it away, and the same command makes it again")

    def _text(self) -> str:
        files = "".join(f"# {kept.size} bytes, {kept.origin}\n{kept.sha256}  {name}\n" for name, kept in sorted(self.files.items()))
        return files + "".join(f"# all shards, {origin}\n" for origin in sorted(self.whole))

    def commit(self, source: Source) -> str | None:
        """That this source's files are of."""
        for kept in self.files.values():
            path, _, commit = kept.origin.partition(" at ")
            if path == source.path and COMMIT.fullmatch(commit):
                return commit
        return None

    def add(self, name: str, kept: Kept) -> None:
        with self._guard:
            self.files[name] = kept
            self._write()

    def add_whole(self, origin: str) -> None:
        """All shards that there are at this commit are here."""
        with self._guard:
            self.whole.add(origin)
            self._write()

    def _write(self) -> None:
        new = self.path.with_name("SHA256SUMS.tmp")
        new.write_text(self._text())
        new.rename(self.path)


def listing(client: Client, source: Source, revision: str) -> tuple[str, dict[str, dict]]:
    """(commit, what the host says of each file of it)"""
    base = f"{client.endpoint}/{source.interface}"
    commit = revision
    if not COMMIT.fullmatch(revision):
        answer, _ = client.json(f"{base}/revision/{revision}")
        commit = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise Refused(f"{base}/revision/{revision}: names no commit; is HF_ENDPOINT a host with Hugging Face's interface?")
    entries, page, pages = {}, f"{base}/tree/{commit}", 0
    while page:
        pages += 1
        answer, page = client.json(page)
        if not isinstance(answer, list) or pages > MOST_PAGES:
            raise Refused(f"{base}/tree/{commit}: no listing of files; is HF_ENDPOINT a host with Hugging Face's interface?")
        entries |= {entry["path"]: entry for entry in answer if isinstance(entry, dict) and isinstance(entry.get("path"), str)}
    return commit, entries


def names_of(source: Source, entries: dict[str, dict], shards: int | None) -> list[str]:
    """Which files are wanted; the validation shards come first, then the others in order, so that one can begin early."""
    if not source.shards:
        missing = [name for name in source.files if name not in entries]
        if missing:
            raise Refused(f"{source.repository}: the host lists no {', '.join(missing)}; was the repository changed? --revision names an older commit")
        return list(source.files)
    val, train = (sorted(name for name in entries if re.fullmatch(rf"{source.shards}_{split}_\d{{6}}\.bin", name)) for split in ("val", "train"))
    if not val or not train:
        raise Refused(f"{source.repository}: the host lists no {source.shards}_train_NNNNNN.bin and {source.shards}_val_NNNNNN.bin; was the repository "
                      "changed? --revision names an older commit")
    if shards is not None and shards > len(train):
        raise Refused(f"{source.repository}: has {len(train)} training shards, --shards asks for {shards}")
    return val + train[:shards]


def wanted_of(client: Client, source: Source, commit: str, name: str, entry: dict, folder: Path) -> Wanted:
    lfs = entry.get("lfs")
    size, sha256, blob = (lfs.get("size"), lfs.get("oid"), None) if isinstance(lfs, dict) else (entry.get("size"), None, entry.get("oid"))
    pattern, found = (r"[0-9a-f]{64}", sha256) if isinstance(lfs, dict) else (COMMIT, blob)
    if not isinstance(size, int) or size <= 0 or not isinstance(found, str) or not re.fullmatch(pattern, found):
        raise Refused(f"{source.repository}: the host lists {name} without its size and hash; nothing is fetched that cannot be checked")
    pinned = PINNED.get((source.folder, name)) if commit == source.revision else None
    if pinned and sha256 not in (None, pinned):
        raise Refused(f"{source.repository}: the host lists {name} with the hash {sha256}; at commit {commit} it is {pinned}: do not trust this host")
    return Wanted(f"{client.endpoint}/{source.path}/resolve/{commit}/{name}", folder / name, size, pinned or sha256, blob)


def check_shard(path: Path) -> None:
    """Whether a file is what temper reads; its hash says only that it is what the host has."""
    with open(path, "rb") as file:
        header = file.read(SHARD_HEADER)
    magic, version, tokens = struct.unpack("<3i", header[:12]) if len(header) == SHARD_HEADER else (0, 0, 0)
    if (magic, version, SHARD_HEADER + 2 * tokens) != (SHARD_MAGIC, SHARD_VERSION, path.stat().st_size):
        raise Refused(f"{path}: is as its host has it and no shard of llm.c (magic {magic}, version {version}, {tokens} tokens); the repository is not what "
                      "it was when this script was written")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No second process fetches into the folder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Refused(f"{folder}: another fetch.py works there; wait for it or stop it") from None
    try:
        yield
    finally:
        os.close(handle)


def amount(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"


def duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


class Progress:
    """What is done, on one line of a terminal or, elsewhere, a line now and then."""

    def __init__(self, files: int, size: int, here: int) -> None:
        self.files, self.size, self.done, self.here, self.fetched = files, size, 0, here, 0
        self._begin, self._shown = time.monotonic(), 0.0
        self._terminal = sys.stderr.isatty()
        self._guard = threading.Lock()

    def arrived(self, count: int) -> None:
        with self._guard:
            self.here += count
            self.fetched += max(count, 0)

    def say(self, line: str) -> None:
        print(("\r\x1b[K" if self._terminal else "") + line, file=sys.stderr, flush=True)

    def show(self) -> None:
        now = time.monotonic()
        if now - self._shown < (0.5 if self._terminal else 30) or now - self._begin < 0.5:
            return
        self._shown = now
        rate = self.fetched / (now - self._begin)
        left = f", {duration((self.size - self.here) / rate)} left" if rate > 0 else ""
        line = f"{self.done} of {self.files} files, {amount(self.here)} of {amount(self.size)}, {amount(rate)}/s{left}"
        print(f"\r\x1b[K{line}" if self._terminal else line, end="" if self._terminal else "\n", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Task:
    wanted: Wanted
    sums: Sums
    origin: str
    shard: bool

    def keep(self, sha256: str) -> None:
        if self.shard:
            check_shard(self.wanted.path)
        self.sums.add(self.wanted.path.name, Kept(sha256, self.wanted.size, self.origin))


def fetch_all(client: Client, tasks: list[Task], jobs: int) -> list[str]:
    """Fetches what is missing, and returns what went wrong."""
    size = sum(task.wanted.size for task in tasks)
    here = sum(task.wanted.part.stat().st_size for task in tasks if task.wanted.part.exists())
    free = shutil.disk_usage(tasks[0].wanted.path.parent).free
    if size - here + SPARE > free:
        raise Refused(f"{tasks[0].wanted.path.parent}: takes {amount(size - here)} more, and the disk has {amount(free)}; --shards N fetches fewer, --out "
                      "names another place")
    progress = Progress(len(tasks), size, here)
    client.say = progress.say
    progress.say(f"fetching {len(tasks)} file{'s' if len(tasks) > 1 else ''}, {amount(size)}" + (f", of which {amount(here)} are here" if here else ""))
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    wrong: list[str] = []

    def work() -> None:
        while not client.stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                task.keep(client.fetch(task.wanted, progress.arrived))
                progress.done += 1
            except Stopped:
                return
            except DiskFull as error:
                wrong.append(str(error))
                client.stop.set()
            except Exception as error:  # of one file; the others go on
                wrong.append(str(error) if isinstance(error, Refused) else f"{task.wanted.path}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                progress.show()
    finally:  # also on Ctrl-C: daemons do not outlive the process, and parts hold what has arrived
        client.stop.set()
    progress.say(f"{progress.done} of {len(tasks)} files fetched")
    return wrong


def present(folder: Path, name: str, sums: Sums, check: bool) -> bool:
    """Whether a file is here that SHA256SUMS knows; by its length or, with `check`, its hash too."""
    kept, path = sums.files.get(name), folder / name
    if kept is None or not path.exists():
        return False
    wrong = difference(path, Wanted("", path, kept.size, kept.sha256))[1] if check else None
    if path.stat().st_size != kept.size:
        wrong = f"has {path.stat().st_size} bytes and not {kept.size}"
    if wrong:
        raise Refused(f"{path}: {wrong}, as {sums.path} has it; remove the file, and the same command fetches it again")
    return True


def adopt(task: Task, client: Client) -> bool:
    """A file that something else put there: kept if it is right."""
    path = task.wanted.path
    if not path.exists():
        return False
    client.say(f"{path}: is here already; comparing it with what its host lists")
    sha256, wrong = difference(path, task.wanted)
    if wrong:
        raise Refused(f"{path}: {wrong}, as its host lists it; move it away, and the same command fetches it")
    task.keep(sha256)
    return True


def locked_names(source: Source, sums: Sums, shards: int | None) -> list[str] | None:
    """The wanted files, where SHA256SUMS alone tells them."""
    if not source.shards:
        return list(source.files)
    mine = sorted(name for name in sums.files if name.startswith(source.shards + "_"))
    train = [name for name in mine if "_train_" in name]
    if len(train) == len(mine) or len(train) < (shards or 1):
        return None
    if shards is None and not any(origin.startswith(f"{source.path} at ") for origin in sums.whole):
        return None
    return [name for name in mine if name not in train[shards:]] if shards else mine


def plan(client: Client, what: str, arguments: argparse.Namespace, folder: Path, sums: Sums) -> list[Task]:
    """What is missing of a source."""
    if what == "hellaswag":
        wanted = Wanted(f"{arguments.github}/{HELLASWAG_PATH}", folder / "hellaswag_val.jsonl", HELLASWAG_BYTES, HELLASWAG_SHA256)
        tasks = [Task(wanted, sums, "rowanz/hellaswag", False)]
    else:
        source = SOURCES[what]
        names = None if arguments.revision else locked_names(source, sums, arguments.shards)
        if names and all(present(folder, name, sums, arguments.check) for name in names):
            return []
        commit, entries = listing(client, source, arguments.revision or sums.commit(source) or source.revision)
        names = names_of(source, entries, arguments.shards)
        tasks = [Task(wanted_of(client, source, commit, name, entries[name], folder), sums, f"{source.path} at {commit}", bool(source.shards)) for name in names]
    for task in tasks:
        kept = sums.files.get(task.wanted.path.name)
        if kept and task.wanted.sha256 not in (None, kept.sha256):
            raise Refused(f"{task.wanted.path}: the host lists another file than {sums.path} ({kept.origin}); remove that line and the file to take the new one")
    return [task for task in tasks if not present(folder, task.wanted.path.name, sums, arguments.check) and not adopt(task, client)]


def bring(client: Client, what: str, arguments: argparse.Namespace) -> list[str]:
    """One source; returns what went wrong."""
    source = SOURCES.get(what)
    folder = arguments.out / (source.folder if source else "hellaswag")
    with alone(folder):
        sums = Sums(folder)
        tasks = plan(client, what, arguments, folder, sums)
        if arguments.dry_run:
            print(f"{what}: {len(tasks)} files, {amount(sum(task.wanted.size for task in tasks))} to fetch into {folder}")
            for task in tasks:
                print(f"  {task.wanted.size:>12} {task.wanted.url}")
            return []
        wrong = fetch_all(client, tasks, arguments.jobs) if tasks else []
        if source and source.shards and not wrong and arguments.shards is None and tasks:
            sums.add_whole(tasks[0].origin)
        if not wrong:
            print(f"{what}: {'checked' if arguments.check else 'complete'} in {folder}")
        return wrong


def parse() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<17} {source.about}" for name, source in SOURCES.items()) + f"\n  {'hellaswag':<17} {HELLASWAG}"
    about, environment = __doc__.split("environment:")
    parser = argparse.ArgumentParser(description=about, epilog=f"WHAT:\n{listed}\n\nenvironment:{environment}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="WHAT", nargs="+", choices=[*SOURCES, "hellaswag"], help="one or more of those below")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the folders (data)")
    parser.add_argument("--shards", type=int, metavar="N", help="the first N training shards, of some 100 million tokens and 0.2 GB each, and those for validation (all)")
    parser.add_argument("--revision", help="a commit, tag or branch of the repository (the commit in SHA256SUMS, one that is known, or main)")
    parser.add_argument("--check", action="store_true", help="compare the whole of each file that is here with its hash, too")
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched; asks the host for its list")
    parser.add_argument("--jobs", type=int, default=4, help="files at once (4)")
    parser.add_argument("--timeout", type=float, default=30, help="seconds without data after which a try has failed (30)")
    parser.add_argument("--tries", type=int, default=6, help="tries of a file in a row without getting further (6)")
    parser.add_argument("--pause", type=float, default=1, help="seconds before the second try, doubled for each further one (1)")
    parser.add_argument("--github", default="https://raw.githubusercontent.com", help="a mirror of this address, for HellaSwag")
    arguments = parser.parse_args()
    for name, least in (("shards", 1), ("jobs", 1), ("timeout", 1e-3), ("tries", 1), ("pause", 0)):
        value = getattr(arguments, name)
        if value is not None and not value >= least:
            parser.error(f"--{name} {value}: at least {least}")
    if arguments.revision and (len(arguments.what) > 1 or arguments.what == ["hellaswag"]):
        parser.error("--revision is of one repository: give one WHAT that has one")
    return arguments


def main() -> int:
    arguments = parse()
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    if not endpoint.startswith(("https://", "http://")):
        print(f"fetch.py: HF_ENDPOINT={endpoint} is no address; it begins with https://", file=sys.stderr)
        return 2
    token = os.environ.get("HF_TOKEN")
    if token and not re.match(r"https:|http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/|$)", endpoint):
        print(f"fetch.py: HF_TOKEN is not sent to {endpoint}, where others could read it on the way", file=sys.stderr)
        token = None
    client = Client(arguments.timeout, arguments.tries, arguments.pause, endpoint, token, lambda line: print(line, file=sys.stderr))
    shards = any(what in SOURCES and SOURCES[what].shards for what in arguments.what)
    wrong: list[str] = []
    for what in dict.fromkeys([*(["gpt2-vocabulary"] if shards else []), *arguments.what]):
        try:
            wrong += bring(client, what, argparse.Namespace(**{**vars(arguments), "revision": None}) if what not in arguments.what else arguments)
        except Refused as error:
            wrong.append(str(error))
        except KeyboardInterrupt:
            print("\nfetch.py: stopped; the same command goes on from what has arrived", file=sys.stderr)
            return 130
        client.stop.clear()
    for line in wrong[:8]:
        print(f"fetch.py: {line}", file=sys.stderr)
    if len(wrong) > 8:
        print(f"fetch.py: and {len(wrong) - 8} files more", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
