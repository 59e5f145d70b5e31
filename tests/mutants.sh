#!/usr/bin/env bash
# Would the C++ tests notice? Each tests/mutants/*.patch plants one bug in a copy of the core; some test
# must fail. Prints which; exit status 1 if a bug survives or a patch no longer applies.
#
#   tests/mutants.sh [PATCH ...]      (default: all)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

source=$root/build/mutants/source
directory=$root/build/mutants/tests
tests=(muzero_test select_test tree_test forest_test signatures_test allocation_test lockstep_test search_test differential_test)
# only what differs, so that another run builds little
(cd "$root" && find CMakeLists.txt csrc bench tests/cpp rtsearch_fast/bench/signatures.json -type f) |
  while read -r file; do
    cmp -s "$root/$file" "$source/$file" || install -D -m 644 "$root/$file" "$source/$file"
  done

build_copy() {
  build "$directory" "${tests[*]}" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 \
    -DCMAKE_INTERPROCEDURAL_OPTIMIZATION_DEBUG=OFF
}

# The first test that fails, or nothing.
failing_test() {
  local test arguments
  for test in "${tests[@]}"; do
    arguments=()
    if [[ $test == signatures_test ]]; then arguments=("$source/rtsearch_fast/bench/signatures.json"); fi
    timeout 120 "$directory/$test" "${arguments[@]}" >"$directory/test.log" 2>&1 ||
      { echo "$test"; return; }
  done
}

build_copy
found=$(failing_test)
if [[ -n $found ]]; then
  cat "$directory/test.log"
  stage "mutants: $found fails without any"
  exit 1
fi
patches=("$@")
if ((${#patches[@]} == 0)); then
  # those in headers last: all is built anew for each, and anew without it
  mapfile -t patches < <(cd "$root/tests/mutants" && grep -L '^+++ .*\.h$' -- *.patch
                         cd "$root/tests/mutants" && grep -l '^+++ .*\.h$' -- *.patch)
  patches=("${patches[@]/#/$root/tests/mutants/}")
fi
survivors=0
for patch in "${patches[@]}"; do
  name=$(basename "$patch" .patch)
  if ! patch -p1 -s -F0 -d "$source" <"$patch" >/dev/null; then
    printf '%-32s no longer applies: make it anew from the code as it is\n' "$name"
    exit 1
  fi
  found=
  if build_copy; then found=$(failing_test); fi
  patch -p1 -s -R -d "$source" <"$patch"
  printf '%-32s %s\n' "$name" "${found:-SURVIVES}"
  if [[ -z $found ]]; then survivors=$((survivors + 1)); fi
done
stage "mutants: ${#patches[@]} planted, $survivors survived"
((survivors == 0))
