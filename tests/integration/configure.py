"""configure.py SOURCE CMAKE CXX: what configuring says of compilers, libraries and CUDA that are not there, too old or broken, and what temper says of
it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import check

MAIN = """#include <cstdio>
#include <string>
namespace temper { bool cuda_available(std::string* reason); }
int main() {
  std::string why;
  const bool there = temper::cuda_available(&why);
  std::printf("%d %s", there, why.c_str());
}
"""


class Machine:
    """A folder whose programs come before the system's, and CMake in it."""

    def __init__(self, source: Path, cmake: str, cxx: str, folder: Path) -> None:
        self.source, self.cmake, self.cxx, self.folder = source, cmake, cxx, folder

    def program(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return path

    def nvcc(self, release: str, compiles: str) -> Path:
        return self.program("nvcc", f"""case "$1" in --version) echo 'Cuda compilation tools, release {release}, V{release}.1';; *) {compiles};; esac\n""")

    def says(self, *arguments: object, fails: bool, texts: tuple[str, ...], env: dict[str, str] = {}) -> str:
        environment = {name: value for name, value in os.environ.items() if name not in ("CUDACXX", "CUDAHOSTCXX", "CUDA_HOME", "CUDA_PATH")}
        environment |= {"PATH": f"{self.folder}:{os.environ['PATH']}"} | env
        done = subprocess.run([self.cmake, *map(str, arguments)], cwd=self.folder, env=environment, capture_output=True, text=True)
        said = " ".join((done.stdout + done.stderr).split())  # CMake breaks lines
        check((done.returncode != 0) == fails, f"{arguments} ended with {done.returncode}: {said}")
        for text in texts:
            check(text in said, f"{arguments}: not said: {text!r}\n{said}")
        return said

    def script(self, name: str, *definitions: str, **options: object) -> str:
        """A module of cmake/ by itself."""
        return self.says(*(f"-D{each}" for each in definitions), "-P", self.source / "cmake" / name, **options)


def check_compilers(machine: Machine) -> None:
    gnu = ("CMAKE_CXX_COMPILER_ID=GNU", "CMAKE_CXX_COMPILER=/opt/bin/g++")
    for version in ("11.4.0", "9.5"):
        machine.script("requirements.cmake", *gnu, f"CMAKE_CXX_COMPILER_VERSION={version}", fails=True,
                       texts=(f"g++ {version} (/opt/bin/g++)", "12 or newer", "CXX=g++-12", "gcc-toolset-13"))
    machine.script("requirements.cmake", *gnu, "CMAKE_CXX_COMPILER_VERSION=12.1", fails=False, texts=())
    old = machine.folder / "old.cmake"
    old.write_text(f'set(CMAKE_VERSION 3.19.2)\ninclude({machine.source}/cmake/requirements.cmake)\n')
    machine.says("-P", old, fails=True, texts=("CMake 3.19.2 is too old", "pip install cmake"))
    presets = json.loads((machine.source / "CMakePresets.json").read_text())
    check(presets["version"] <= 2, "a CMake that is too old is to say so, and must be able to read CMakePresets.json")


def check_setup(machine: Machine) -> None:
    """scripts/setup.sh on a system whose packages are too old, with none installed, installs nothing."""
    if not shutil.which("dpkg"):
        return
    fakes = {"sudo": 'exec "$@"', "apt-get": 'echo "$*" >>asked', "dpkg-query": "exit 1",
             "apt-cache": 'case "$2" in cmake) v=3.22.1-1;; g++) v=4:11.2.0-1;; *) v=20.1;; esac; echo "  Candidate: $v"'}
    programs = [machine.program(name, text + "\n") for name, text in fakes.items()]
    environment = {**os.environ, "PATH": f"{machine.folder}:{os.environ['PATH']}"}
    done = subprocess.run([machine.source / "scripts/setup.sh"], cwd=machine.folder, env=environment, capture_output=True, text=True)
    check(done.returncode == 1 and "compiler 11.2.0-1 (temper needs 12), cmake 3.22.1-1 (temper needs 3.25)\n" in done.stderr, f"setup.sh: {done}")
    check("install " not in (machine.folder / "asked").read_text() and "docs/install.md" in done.stderr, f"setup.sh went on: {done}")
    for program in programs:
        program.unlink()


def check_documents(source: Path) -> None:
    """The least CUDA is the same wherever it is said."""
    least = (source / "cmake/cuda.cmake").read_text().partition("set(TEMPER_LEAST_CUDA ")[2].partition(")")[0]
    for name in ("README.md", "docs/install.md", "third_party/README.md", "scripts/gpu_check.sh"):
        check(f"{least} or newer" in (source / name).read_text(), f"{name} does not say that CUDA is to be {least} or newer, as cmake/cuda.cmake does")


def check_libraries(machine: Machine) -> None:
    """All that is missing at once: a JSON library that is too old, and one that pkg-config does not know."""
    json_folder = machine.folder / "json"
    json_folder.mkdir()
    (json_folder / "nlohmann_jsonConfig.cmake").write_text("")
    (json_folder / "nlohmann_jsonConfigVersion.cmake").write_text(
        "set(PACKAGE_VERSION 3.7.3)\nif(PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION)\n  set(PACKAGE_VERSION_COMPATIBLE FALSE)\nendif()\n")
    asks = machine.program("pkg-config", """for word; do case "$word" in --modversion) ask=1;; libxxhash*) bad=1;; esac; done
[ "$ask$bad" = 11 ] && { echo 0.7.3; exit 0; }
[ "$bad" ] && exit 1
exec /usr/bin/pkg-config "$@"
""")
    machine.says("-S", machine.source, "-B", "libraries", "-G", "Ninja", "-DTEMPER_TESTS=OFF", "-DTEMPER_CUDA=OFF", f"-DCMAKE_PREFIX_PATH={json_folder}",
                 "-DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF", "-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF", f"-DPKG_CONFIG_EXECUTABLE={asks}",
                 f"-DCMAKE_MAKE_PROGRAM={shutil.which('ninja')}", f"-DCMAKE_CXX_COMPILER={machine.cxx}", fails=True,
                 texts=("what is missing: nlohmann_json 3.11 or newer (found: 3.7.3) CLI11 2.1 or newer fmt 9.1 or newer "
                        "libxxhash 0.8 or newer (found: 0.7.3) asio", "scripts/setup.sh", "docs/install.md"))
    (machine.folder / "pkg-config").unlink()


def check_cuda(machine: Machine) -> str:
    """The reasons; returns what was said with an old toolkit."""
    cxx = f"CMAKE_CXX_COMPILER={machine.cxx}"
    script = lambda *more, **options: machine.script("cuda.cmake", cxx, *more, **options)  # noqa: E731
    broken = machine.program("broken", "echo 'libnvvm.so: cannot open shared object file' >&2; exit 127\n")
    script(fails=False, env={"CUDACXX": str(broken)}, texts=("CUDA backend OFF", f"{broken} compiles nothing here", "libnvvm.so: cannot open"))
    script(fails=False, env={"CUDACXX": "/no/such/nvcc"}, texts=("/no/such/nvcc compiles nothing here (No such file or directory)",))
    nvcc = machine.nvcc("99.1", "echo '#error -- unsupported GNU version! gcc versions later than 14 are not supported!' >&2; exit 1")
    script(fails=False, env={"CUDACXX": str(nvcc)}, texts=(f"{nvcc} compiles nothing here (#error -- unsupported GNU version!",))
    nvcc = machine.nvcc("11.8", "exit 0")
    script("TEMPER_CUDA=OFF", fails=False, texts=("CUDA backend OFF: TEMPER_CUDA was OFF",))
    script("TEMPER_CUDA=ON", fails=True, env={"CUDACXX": str(nvcc)}, texts=("TEMPER_CUDA=ON, but", "is of CUDA 11.8", "docs/install.md", "CUDACXX"))
    old = script(fails=False, env={"CUDACXX": str(nvcc)}, texts=(f"{nvcc} is of CUDA 11.8 and temper needs ",))
    check("CMake Warning" not in old, f"a warning without a GPU: {old}")

    smi = 'case "$1" in --query*) echo "{capability}, Fake GPU";; *) echo "| CUDA Version: 12.4 |";; esac\n'
    machine.program("nvidia-smi", smi.format(capability="8.6"))
    script(fails=False, env={"CUDACXX": str(nvcc)}, texts=("CMake Warning", "there is a GPU here, and this build will not use it", "is of CUDA 11.8"))
    machine.program("nvidia-smi", smi.format(capability="7.0"))
    script("TEMPER_CUDA=OFF", fails=False, texts=("Fake GPU has compute capability 7.0", "need 8.0"))
    script("TEMPER_CUDA=OFF", "CUDAToolkit_VERSION=99.1", fails=False, texts=("driver is for CUDA 12 and the toolkit is 99.1", "newer driver"))
    said = script("TEMPER_CUDA=OFF", "CUDAToolkit_VERSION=12.9", fails=False, texts=())
    check("toolkit is" not in said, f"12.9 runs on a driver for 12.4: {said}")
    (machine.folder / "nvidia-smi").unlink()
    return old.partition("CUDA backend OFF: ")[2]


def check_program(machine: Machine, reason: str) -> None:
    """A build without CUDA repeats what configuring found. Its one file is compiled as the build would."""
    machine.says("-S", machine.source, "-B", "build", "-G", "Ninja", "-DTEMPER_TESTS=OFF", "-DTEMPER_MPI=OFF", "-DCMAKE_UNITY_BUILD=OFF", fails=False,
                 env={"CUDACXX": str(machine.folder / "nvcc")}, texts=(reason,))
    commands = json.loads((machine.folder / "build/compile_commands.json").read_text())
    (command,) = (each for each in commands if each["file"].endswith("no_cuda.cpp"))
    (machine.folder / "main.cpp").write_text(MAIN)
    compiled = f'{command["command"]} && {machine.cxx} {machine.folder}/main.cpp -x none $(find . -name no_cuda.cpp.o) -o says'
    subprocess.run(f'mkdir -p kernels/CMakeFiles/temper_kernels.dir/no_cuda && {compiled}', shell=True, check=True, cwd=machine.folder / "build")
    said = subprocess.run([machine.folder / "build/says"], capture_output=True, text=True, check=True).stdout
    check(said.startswith("0 this build of temper has no CUDA backend") and reason in said and "docs/install.md" in said, f"the program says {said!r}")


def main() -> None:
    source, cmake, cxx = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    with tempfile.TemporaryDirectory(prefix="temper-test-") as folder:
        machine = Machine(source, cmake, cxx, Path(folder))
        check_documents(source)
        check_compilers(machine)
        check_setup(machine)
        check_libraries(machine)
        check_program(machine, check_cuda(machine))
    print("all of it is said")


if __name__ == "__main__":
    main()
