"""install.py TEMPER SOURCE BUILD CMAKE VERSION: what `cmake --install` lays down, run from another place than it was installed to; and the packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from harness import Workspace, check


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    check(done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def expected(source: Path) -> set[str]:
    """By name and ending, from the sources."""
    kinds = {"scripts/plots": (".py", ".css", ".js"), "scripts/corpora": (".py",), "scripts/slurm": (".sbatch",), "configs": (".json",)}
    files = {"bin/temper", "share/doc/temper/README.md", "share/doc/temper/LICENSE"}
    for folder, endings in kinds.items():
        place = source / folder
        files |= {f"share/temper/{place.name}/{name}" for name in files_below(place) if name.endswith(endings)}
    files |= {f"share/doc/temper/docs/{page.name}" for page in (source / "docs").glob("*.md")}
    return files | {f"share/doc/temper/docs/images/{picture.name}" for picture in (source / "docs/images").glob("*.png")}


def check_tree(prefix: Path, source: Path) -> None:
    found, wanted = files_below(prefix), expected(source)
    check(found == wanted, f"{prefix} lacks {sorted(wanted - found)} and has {sorted(found - wanted)} too many")
    for name in ("configs/schema.json", "plots/sweep.py", "configs/quickstart.json"):
        check(f"share/temper/{name}" in found, f"share/temper/{name} is not installed")


def check_works(prefix: Path, version: str) -> None:
    """From the prefix alone: the program is not the build's, whose scripts it could find beside itself."""
    with Workspace(str(prefix / "bin/temper")) as work:
        said = work.ok("--version").stdout
        check(said == f"{version}\n", f"--version says {said!r}, CMake {version}")
        check("device=auto uses" in work.ok("doctor").stdout, "doctor")
        configs = prefix / "share/temper/configs"
        check(work.ok("config", "schema").stdout == (configs / "schema.json").read_text(), "the installed schema is not this program's")
        work.ok("config", "show", str(configs / "quickstart.json"))
        work.ok("train", "config.json", "train.steps=6", "--out", "run")
        told = work.ok("report", "run")
        check("sweep.py" not in told.stderr, f"report does not find the installed scripts:\n{told.stderr}")
        check((work.folder / "run/report/report.html").exists(), f"no report:\n{told.stderr}")


def check_packages(build: Path, cpack: Path, source: Path, version: str, into: Path) -> None:
    deb = shutil.which("dpkg-shlibdeps") and shutil.which("file")
    run(cpack, "--config", build / "CPackConfig.cmake", "-G", "TGZ;DEB" if deb else "TGZ", "-B", into, cwd=into)
    archive = next(into.glob("*.tar.gz"))
    check(f"-{version}-" in archive.name, f"{archive.name} is not of version {version}")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames() if not tar.getmember(name).isdir()}
    check(names == expected(source), f"the archive: {sorted(names ^ expected(source))}")
    if not deb:
        print("no dpkg-shlibdeps or no file here: no .deb")
        return
    package = next(into.glob("*.deb"))
    fields = {name: run("dpkg-deb", "-f", package, name).stdout.strip() for name in ("Version", "Depends", "Recommends")}
    check(fields["Version"] == version, f"{package.name} is of version {fields['Version']}, not {version}")
    for library in ("libc6 ", "libsodium", "libpcre2-8", "libzstd"):
        check(library in fields["Depends"], f"{package.name} does not depend on {library}: {fields['Depends']}")
    check("python3-matplotlib" in fields["Recommends"] and "python3" not in fields["Depends"], f"{package.name}: {fields}")
    run("dpkg-deb", "-x", package, into / "unpacked")
    check_tree(into / "unpacked/usr", source)


def main() -> None:
    source, build, cmake, version = Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5]
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        work = Path(folder)
        run(cmake, "--install", build, "--prefix", work / "first")
        (work / "first").rename(work / "moved")
        check_tree(work / "moved", source)
        check_works(work / "moved", version)
        (work / "packages").mkdir()
        check_packages(build, cmake.with_name("cpack"), source, version, work / "packages")
    print("installed, moved and packed")


if __name__ == "__main__":
    main()
