"""What is compiled for AVX2 and AVX-512 gives the linker nothing that it could take for other code: a function that stands in several objects (an inline one, a template) is taken from
any of them, and where it is taken from one of these, temper ends with an illegal instruction on the machines without them (kernels/cpu/isa.h). Of a release build, where the compiler
inlines what it may.

usage: isa_objects.py NM OBJECT...
"""

import subprocess
import sys


def shared_symbols(nm: str, objects: list[str]) -> list[str]:
    """Weak and unique ones; each line of nm is FILE:ADDRESS KIND NAME."""
    listed = subprocess.run([nm, "--defined-only", "--demangle", "--print-file-name", *objects], check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(listed) >= len(objects), f"{nm} lists {len(listed)} symbols in {len(objects)} objects"
    found = []
    for line in listed:
        place, _, symbol = line.partition(":")
        kind, name = symbol.split(maxsplit=2)[1:]
        if kind in "VWuvw":
            found.append(f"{place}: {name}")
    return found


def main() -> None:
    nm, objects = sys.argv[1], sys.argv[2:]
    assert objects, "no objects"
    found = shared_symbols(nm, objects)
    if found:
        raise SystemExit("These stand in objects of other code as well; make them TEMPER_INLINE, or put them into an unnamed namespace:\n" + "\n".join(found))
    print(f"{len(objects)} objects have nothing in common with others")


if __name__ == "__main__":
    main()
