# Building temper where nothing can be installed, from libraries that were carried along; sourced by scripts/gpu_check.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# Debian's packages of everything that CMakeLists.txt and the tests look for beside compilers and CUDA.
carried_packages=(
  nlohmann-json3-dev libcli11-dev libfmt-dev libfmt9 libasio-dev libpcre2-dev libpcre2-8-0 libxxhash-dev libxxhash0 libsodium-dev libsodium23 libgtest-dev
  zlib1g-dev zlib1g libzstd-dev libzstd1
  libboost1.74-dev libboost-context1.74-dev libboost-context1.74.0 pkgconf pkgconf-bin libpkgconf3
)
# What the stages run.
programs=(temper tests/temper_kernels_tests tests/temper_train_tests tests/temper_distributed_tests)
largest_mib=64  # of all that is carried

# use_carried DIR UNPACKED: from here on CMake and pkg-config find what is in DIR: an installation prefix, or Debian packages, which are
# unpacked into the folder UNPACKED.
use_carried() {
  local prefix package folder
  prefix=$(cd "$1" && pwd)
  if compgen -G "$prefix/*.deb" >/dev/null; then
    rm -rf "$2"
    mkdir -p "$2"
    for package in "$prefix"/*.deb; do
      dpkg -x "$package" "$2"
    done
    prefix=$(cd "$2" && pwd)/usr
    # The packages believe that they are in /usr.
    find "$2" -name '*.pc' -exec sed -i "s|=/usr|=$prefix|" {} +
  fi
  PATH=$PATH:$prefix/bin
  LD_LIBRARY_PATH=$prefix/lib/$(uname -m)-linux-gnu:$prefix/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  for folder in "$prefix"/lib/pkgconfig "$prefix"/lib/*/pkgconfig "$prefix"/lib64/pkgconfig "$prefix"/share/pkgconfig; do
    PKG_CONFIG_PATH=$folder${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
  done
  export PATH LD_LIBRARY_PATH PKG_CONFIG_PATH CMAKE_PREFIX_PATH=$prefix
}

# configure BUILD [OPTION...]: CMake's preset `cuda` in the folder BUILD. What goes wrong is the last line that it prints.
configure() {
  local tool missing='' log
  for tool in cmake ninja g++ pkg-config; do
    command -v "$tool" >/dev/null || missing+=" $tool"
  done
  if [ -n "$missing" ]; then
    echo "missing on this machine:$missing"
    return 1
  fi
  mkdir -p "$1"
  log=$1/configure.log
  # CMake 4 refuses configuration files as old as some of Debian's unless it is told not to.
  if ! cmake --preset cuda -B "$1" -DTEMPER_TESTS=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5 "${@:2}" 2>&1 | tee "$log"; then
    # The first error as one line: CMake names the package there, and pkg-config the one it did not find.
    echo "CMake: $(awk '/^CMake Error/ { n = 8 } n-- > 0' "$log" | tr -s ' \n' ' ' | cut -c1-300)" \
      "(scripts/setup.sh --tests installs what is missing; without it see --carried)"
    return 1
  fi
}

# compile BUILD: the programs that the stages run.
compile() {
  cmake --build "$1" --target "${programs[@]##*/}" -- -j "$(nproc)"
}

# pack DIR BUILD: makes the folder that --carried takes: the packages, and prebuilt/ with the programs, stripped, and the libraries
# that another machine with this CUDA may lack.
pack() {
  local folder program library mib
  mkdir -p "$1"
  folder=$(cd "$1" && pwd)
  rm -rf "$folder"/*.deb "$folder/prebuilt"
  (cd "$folder" && apt-get download -q "${carried_packages[@]}")
  use_carried "$folder" "$2/unpacked"
  # Libraries are looked for beside the programs; MPI is another one on every machine.
  # shellcheck disable=SC2016
  configure "$2" -DTEMPER_MPI=OFF -DCMAKE_SKIP_RPATH=ON "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath,'\$ORIGIN/lib:\$ORIGIN/../lib'"
  compile "$2"
  mkdir -p "$folder/prebuilt/tests" "$folder/prebuilt/lib"
  for program in "${programs[@]}"; do
    strip -o "$folder/prebuilt/$program" "$2/$program"
    for library in $(ldd "$2/$program" | awk '/lib(fmt|pcre2|xxhash|sodium|z\.|zstd|boost|gtest|gomp)/ { print $3 }'); do
      cp -L "$library" "$folder/prebuilt/lib/"
    done
  done
  "$python" -c 'import sys; sys.path.insert(0, "scripts/compare"); import provenance; print(provenance.commit())' \
    >"$folder/prebuilt/commit"
  (cd "$folder" && du -ab --apparent-size . | sort -n | awk '{ printf "%8.1f MiB  %s\n", $1 / 1048576, $2 }')
  mib=$(du -s --apparent-size --block-size=1M "$folder" | cut -f1)
  if [ "$mib" -gt "$largest_mib" ]; then
    echo "$folder is larger than $largest_mib MiB"
    return 1
  fi
}

# try_prebuilt FOLDER: whether the programs that `pack` left there run here and are of this tree's commit; says why not.
try_prebuilt() {
  local library found place said commit packed
  [ -x "$1/temper" ] || return 1
  packed=$(cat "$1/commit")
  commit=$("$python" -c 'import sys; sys.path.insert(0, "scripts/compare"); import provenance; print(provenance.commit())')
  if [ "$commit" != unknown ] && [ "$commit" != "$packed" ]; then
    echo "$1 is of commit $packed, this tree of $commit"
    return 1
  fi
  # CUDA's own libraries lie where the toolkit or Python's packages have them.
  for library in $(ldd "$1/temper" | awk '/not found/ { print $1 }' | sort -u); do
    for place in "$(dirname "$(command -v nvcc)")/../lib64" "$(dirname "$(command -v nvcc)")/../lib" /usr/local/cuda/lib64 \
      "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"/nvidia/*/lib; do
      found=$place/$library
      if [ -e "$found" ]; then
        ln -sf "$(readlink -f "$found")" "$1/lib/$library"
        break
      fi
    done
  done
  if ! said=$("$1/temper" --version 2>&1); then
    echo "$1/temper does not run here: $(tail -n 1 <<<"$said")"
    return 1
  fi
}
