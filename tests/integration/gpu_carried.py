"""gpu_carried.py REPOSITORY [--full] [--build DIR]: temper builds from what scripts/gpu_check.sh carries to a GPU machine, and from nothing else.

In a mount namespace of its own the system's copies of all libraries that temper may need are gone. The folder of --carried is made from the installed
packages that the script lists. CMake must find all in it; an object that includes each library is compiled, and a test is linked and run. Skipped by
name where that takes rights that this user does not have, or where Debian's packages are not installed. --full downloads the packages as the script
says and compiles all programs that its stages run, in DIR (default: a temporary folder): minutes with CUDA's compiler.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import check, skip

# Everything of these names is hidden, whether the script lists it or not. The libraries that dpkg, coreutils and git run with stay: PCRE2's, xxHash's,
# zlib's and zstd's without their headers, pkg-config files and names for the linker.
HIDDEN = ("*asio*", "*cli11*", "libfmt*", "nlohmann*", "libpcre2*-dev", "libxxhash-dev", "zlib1g-dev", "libzstd-dev", "libsodium*", "*gtest*", "*gmock*", "googletest", "libboost*", "libopenmpi*", "openmpi*")
HIDDEN += ("pkg-config", "pkgconf*", "libpkgconf*")
HEADERS = ("asio.hpp", "CLI/CLI.hpp", "fmt/format.h", "nlohmann/json.hpp", "pcre2.h", "xxhash.h", "zlib.h", "zstd.h", "sodium.h", "gtest/gtest.h", "boost/version.hpp")
# A file that includes each library, but for those of temper_io_tests (nlohmann-json, fmt, xxHash, GoogleTest).
OBJECTS = ("src/distributed/peer_connection.cpp", "src/distributed/peer_messages.cpp", "src/cli/config_command.cpp", "src/data/pretokenizer.cpp", "src/data/text_decoding.cpp", "kernels/emulated/fiber.cpp")

NAMESPACE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$1/upper,workdir=$1/work" /usr
while read -r file; do rm -f "$file"; done
shift
exec "$@"
"""
BUILD = """
set -euo pipefail
for header in {headers}; do
  if [ -e "/usr/include/$header" ]; then echo "/usr/include/$header is not hidden"; exit 1; fi
done
if command -v pkg-config; then echo 'pkg-config is not hidden'; exit 1; fi
python=python3
source scripts/gpu/build.sh
use_carried "$1" "$2/unpacked"
{steps}
"""


def output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split("\n") if done.returncode == 0 else []


def files_of(packages: list[str]) -> list[str]:
    return [path for path in output("dpkg", "-L", *packages) if path.startswith("/") and not Path(path).is_dir()]


def make_packages(names: list[str], folder: Path) -> None:
    """Debian packages as apt-get would download them, of the files that are installed here."""
    for name in names:
        if not output("dpkg-query", "-W", name):
            skip(f"{name} is not installed here (scripts/setup.sh --tests)")
        tree = folder / name
        tree.mkdir()
        (tree / "debian-binary").write_text("2.0\n")
        (tree / "control").write_text(f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a copy\n")
        subprocess.run(["tar", "-C", tree, "-cf", tree / "control.tar", "./control"], check=True)
        listed = "\n".join(path[1:] for path in files_of([name]))
        subprocess.run(["tar", "-C", "/", "-cf", tree / "data.tar", "-T", "-"], input=listed, text=True, check=True)
        # What dpkg-deb would make of a copied tree, without the copy: boost alone has 15,000 files.
        parts = [tree / part for part in ("debian-binary", "control.tar", "data.tar")]
        subprocess.run(["ar", "rcS", folder / f"{name}.deb", *parts], check=True)
        shutil.rmtree(tree)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("repository", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--build", type=Path)
    arguments = parser.parse_args()
    os.chdir(arguments.repository)
    if not output("dpkg-query", "-W", "dpkg"):
        skip("this system has no Debian packages")
    known = [line.split() for pattern in HIDDEN for line in output("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${binary:Package}\n", pattern)]
    hidden = files_of([words[1] for words in known if words[:1] == ["ii"]])
    check(hidden, "nothing to hide")
    with tempfile.TemporaryDirectory(prefix="temper-test-") as temporary:
        carried, build, mounted = Path(temporary, "carried"), arguments.build or Path(temporary, "build"), Path(temporary, "mounted")
        for folder in (carried, mounted):
            folder.mkdir()
        tried = subprocess.run(["unshare", "-m", "bash", "-c", NAMESPACE, "bash", mounted, "true"], input="", capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            skip(f"a mount namespace with an overlay of /usr takes more rights than there are: {tried.stderr.strip()}")
        packages = subprocess.run(["bash", "-c", 'source scripts/gpu/build.sh; echo "${carried_packages[@]}"'], capture_output=True, text=True, check=True)
        names = packages.stdout.split()
        cuda = shutil.which("nvcc", path=f"{os.environ['PATH']}:/usr/local/cuda/bin") is not None
        if arguments.full:
            check(cuda, "--full needs nvcc")
            subprocess.run(["apt-get", "download", "-q", *names], cwd=carried, check=True)
            steps = 'configure "$2"; compile "$2"'
        else:
            make_packages(names, carried)
            # Quickly: nothing here is run for its speed.
            options = "-DCMAKE_CXX_FLAGS_RELEASE=-O0 -DCMAKE_UNITY_BUILD=OFF" + ("" if cuda else " -DTEMPER_CUDA=OFF")
            objects = " ".join(f'"$PWD/{source}^"' for source in OBJECTS)
            steps = f'configure "$2" {options}; ninja -C "$2" -j 1 {objects} temper_io_tests; "$2/tests/temper_io_tests" --gtest_brief=1'
        script = BUILD.format(headers=" ".join(HEADERS), steps=steps)
        started = time.monotonic()
        environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/local/cuda/bin"}
        command = ["unshare", "-m", "bash", "-c", NAMESPACE, "bash", mounted, "bash", "-c", script, "bash", carried, build]
        done = subprocess.run(command, input="\n".join(hidden), text=True, capture_output=not arguments.full, env=environment, check=False)
        said = "" if arguments.full else f":\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
        check(done.returncode == 0, f"building from {' '.join(names)} alone ended with {done.returncode}{said}")
        seconds = time.monotonic() - started
    print(f"built from {len(names)} carried packages with {len(hidden)} files of the system hidden, in {seconds:.0f} s{'' if cuda else ', without CUDA'}")


main()
