"""pages.py REPOSITORY: what the pages say is there: files and headings behind their links, scripts and configurations in their commands, sources,
keys in tables and commands, every page in the index. So are the sources that CMakeLists.txt set apart. And no table has a column without a name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness import check

ROOT = Path(sys.argv[1])
GENERATED = {"docs/kernels.md", "docs/benchmarks.md"}  # by scripts that have tests of their own
KEY = re.compile(r"\b((?:model|data|batch|train|optimizer|schedule|eval|checkpoint|log|diagnostics|parallel)\.[a-z][a-z0-9_]*)\b")
FILES = {"json", "jsonl", "md", "cpp", "h", "py", "csv", "safetensors", "bin", "txt", "svg"}  # endings that a key has not


def files(*endings: str) -> list[Path]:
    """Of the repository, whose names end so."""
    patterns = [f"*{ending}" for ending in endings]
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *patterns], capture_output=True, text=True)
    found = [ROOT / name for name in listed.stdout.split()] or [path for pattern in patterns for path in ROOT.rglob(pattern) if "build" not in path.parts]
    return [path for path in found if path.exists()]


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings outside of code."""
    headings = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            found.append(f"{target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            found.append(f"{target}: no such heading")
    return found


def missing_files(text: str) -> list[str]:
    """Of commands: what lies in configs, scripts and tests."""
    code = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S))
    named = re.findall(r"(?<![\w/.])((?:configs|scripts|tests)/[\w./-]+\.\w+)", code)
    return [f"{name}: no such file" for name in named if not (ROOT / name).exists()]


def missing_sources(text: str, there: list[str]) -> list[str]:
    """Named in inline code, with their folders or without; your_op.cu and the like are to be written."""
    named = {name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"(?<![\w.*/-])([\w/-]+\.(?:cpp|h|cuh?))\b", code)}
    return [f"{name}: no such file" for name in sorted(named) if "your_" not in name and not any(path.endswith(f"/{name}") for path in there)]


def missing_exceptions() -> list[str]:
    """CMake takes properties of files that are not there, and then a file that was renamed is built as all others are."""
    found = []
    for path in files("CMakeLists.txt"):
        for name in re.findall(r"set_source_files_properties\(([^\s$]+)", path.read_text()):
            if not (path.parent / name).exists():
                found.append(f"{path.relative_to(ROOT)}: {name}: no such file")
    return found


def unknown_keys(text: str, known: set[str]) -> list[str]:
    """Keys in code, inline or not; their sections are words of other programs too, so elsewhere nothing is looked at."""
    code = "\n".join(re.findall(r"^```(?:sh|jsonc?)\n(.*?)^```", text, flags=re.M | re.S) + re.findall(r"`([^`\n]+)`", text))
    named = {key for key in KEY.findall(code) if key.split(".")[1] not in FILES}
    return [f"{key}: no such key" for key in sorted(named - known)]


def headless_tables(text: str) -> list[str]:
    headers = re.findall(r"^(\|.*\|)\n\|[-: |]+\|$", text, flags=re.M)
    return [f"{header}: a column without a name" for header in headers if any(not cell.strip() for cell in header[1:-1].split("|"))]


def main() -> None:
    check("no-such" not in anchors("# A, b\n```\n# no-such\n```\n") and "a-b" in anchors("# A, b\n"), "headings are not read as they should")
    known = set(re.findall(r"^\| `([a-z_.0-9]+)` \|", (ROOT / "docs/configuration.md").read_text(), flags=re.M))
    check(len(known) > 100, f"docs/configuration.md has {len(known)} keys only")
    problems, links = missing_exceptions(), 0
    pages = files(".md")
    sources = [f"/{path.relative_to(ROOT).as_posix()}" for path in files(".cpp", ".h", ".cu", ".cuh")]
    for page in pages:
        text, name = page.read_text(), page.relative_to(ROOT).as_posix()
        links += text.count("](")
        found = broken_links(page, text) + missing_files(text)
        if name not in GENERATED and name != "CHANGELOG.md":  # which tells of keys and files that are gone
            found += missing_sources(text, sources) + unknown_keys(text, known) + headless_tables(text)
        problems += [f"{name}: {each}" for each in found]
    index = (ROOT / "docs/README.md").read_text()
    problems += [f"docs/README.md: does not list {page.name}" for page in (ROOT / "docs").glob("*.md") if page.name != "README.md" and f"({page.name})" not in index]
    check(not problems, "\n".join(problems))
    print(f"{links} links, {len(pages)} pages: as they say")


main()
