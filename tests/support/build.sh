# Sourced by the scripts that build the C++ tests, each in a way of its own.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

stage() { printf '%s\n' "--- $*"; }

# build DIRECTORY "TARGET ..." CMAKE_ARGUMENT ...
build() {
  local directory=$1 targets=$2 generator=()
  shift 2
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  mkdir -p "$directory"
  # the targets are words
  # shellcheck disable=SC2086
  { cmake -S "${source:-$root}" -B "$directory" "${generator[@]}" -DRTS_BUILD_PYTHON=OFF \
      -DRTS_BUILD_TESTS=ON "$@" &&
    cmake --build "$directory" --parallel "${JOBS:-2}" --target $targets; } \
    >"$directory/build.log" 2>&1 || { cat "$directory/build.log"; return 1; }
}
