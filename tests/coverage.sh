#!/usr/bin/env bash
# Which lines and branches of the core the C++ tests run (clang's source-based coverage).
#
#   tests/coverage.sh
#
# build/coverage/lines.txt shows the text with counts.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

for tool in clang++ llvm-profdata llvm-cov; do
  command -v "$tool" >/dev/null || { stage "coverage: skipped, there is no $tool here"; exit 0; }
done
directory=$root/build/coverage
tests=(muzero_test tree_test forest_test allocation_test differential_test lockstep_test search_test select_test signatures_test)
build "$directory" "${tests[*]}" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_INTERPROCEDURAL_OPTIMIZATION_DEBUG=OFF \
  -DCMAKE_CXX_FLAGS="-fprofile-instr-generate -fcoverage-mapping"
rm -f "$directory"/*.profraw
binaries=()
for test in "${tests[@]}"; do
  arguments=()
  if [[ $test == signatures_test ]]; then arguments=("$root/rtsearch_fast/bench/signatures.json"); fi
  LLVM_PROFILE_FILE=$directory/$test.profraw "$directory/$test" "${arguments[@]}"
  binaries+=(${binaries[0]+-object} "$directory/$test")
done
llvm-profdata merge -sparse "$directory"/*.profraw -o "$directory/merged.profdata"
sources=("$root/csrc/core" "$root/csrc/simd" "$root/csrc/support" "$root/csrc/trials" "$root/csrc/lockstep")
llvm-cov report "${binaries[@]}" -instr-profile="$directory/merged.profdata" "${sources[@]}"
llvm-cov show "${binaries[@]}" -instr-profile="$directory/merged.profdata" \
  -show-branches=count "${sources[@]}" >"$directory/lines.txt"
