#!/usr/bin/env bash
# Build the core with sanitizers and run its tests: ASan + UBSan on the C++ tests and, through the
# Python extension, on random operations against the reference; TSan on the C++ tests.
#
#   tests/sanitizers.sh [OPERATIONS]      (default 1,000,000)
#
# PYTHON names the interpreter (default: python3); it needs NumPy, pybind11 and, unless ninja is
# on the PATH, make. Everything is built in build/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

operations=${1:-1000000}
python=${PYTHON:-python3}
cxx=${CXX:-g++}

# build_with DIRECTORY SANITIZERS PYTHON_EXTENSION
build_with() {
  build "$1" all -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g" \
    -DRTS_SANITIZE="$2" -DRTS_BUILD_PYTHON="$3" \
    -DPython_EXECUTABLE="$(command -v "$python")" \
    -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
}

address=$root/build/address
thread=$root/build/thread
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

stage "ASan + UBSan: build"
build_with "$address" address,undefined ON
stage "ASan + UBSan: C++ tests"
for test in muzero_test lockstep_test search_test tree_test forest_test select_test allocation_test; do "$address/$test"; done
"$address/signatures_test" "$root/rtsearch_fast/bench/signatures.json"
stage "ASan + UBSan: $operations random operations in C++, against the twin"
"$address/differential_test" "$operations" 1000000

stage "ASan + UBSan: $operations random operations from Python, against the reference"
package=$address/package
rm -rf "$package"
mkdir -p "$package"
cp -r "$root/rtsearch_fast" "$package/rtsearch_fast"
rm -f "$package"/rtsearch_fast/_core*.so
cp "$address"/_core*.so "$package/rtsearch_fast/"
# CPython keeps what it has allocated, so leaks are looked for in the C++ tests alone. libstdc++ is
# loaded first too, because ASan looks for its __cxa_throw before Python loads the extension.
runtimes="$("$cxx" -print-file-name=libasan.so) $("$cxx" -print-file-name=libstdc++.so)"
ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$runtimes \
  PYTHONPATH=$package PYTHONDONTWRITEBYTECODE=1 \
  "$python" "$root/tests/support/tree_operations.py" --operations "$operations"

stage "TSan: build"
build_with "$thread" thread OFF
stage "TSan: C++ tests"
"$thread/muzero_test"
"$thread/tree_test"
"$thread/forest_test"
"$thread/select_test"

stage "sanitizers: no report"
