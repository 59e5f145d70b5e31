#!/usr/bin/env bash
# One signature everywhere: the recorded searches (tests/golden) by each compiler, build and
# instruction set that there is here. Prints the matrix; exit status 1 on any difference.
#
#   tests/signatures.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

sets=(baseline avx2 avx512)
status=0
printf '%-10s %-8s' compiler build
printf ' %-10s' "${sets[@]}"
echo
for compiler in g++ clang++; do
  if ! command -v "$compiler" >/dev/null; then
    printf '%-10s skipped: not installed\n' "$compiler"
    [[ -z ${RTS_REQUIRE_CLANG:-} ]] || exit 1
    continue
  fi
  for type in Debug Release; do
    directory=$root/build/signatures/$compiler-$type
    build "$directory" signatures_test -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE="$type"
    printf '%-10s %-8s' "$compiler" "$type"
    for set in "${sets[@]}"; do
      code=0
      RTSEARCH_ISA=$set "$directory/signatures_test" "$root/rtsearch_fast/bench/signatures.json" \
        >"$directory/$set.log" 2>&1 || code=$?
      case $code in
        0) printf ' %-10s' equal ;;
        77) printf ' %-10s' skipped ;;  # not on this machine
        *) printf ' %-10s' DIFFERENT; status=1 ;;
      esac
    done
    echo
    if ((status)); then cat "$directory"/*.log; exit 1; fi
  done
done
