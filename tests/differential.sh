#!/usr/bin/env bash
# The C++ tests as users get the core (optimised, no sanitizer), and many random operations of the
# core against its twin.
#
#   tests/differential.sh [OPERATIONS [SEED]]      (default: 10,000,000, seed 1)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

directory=$root/build/release
build "$directory" all -DCMAKE_BUILD_TYPE=Release
for test in muzero_test tree_test forest_test allocation_test lockstep_test search_test select_test; do
  "$directory/$test"
done
"$directory/signatures_test" "$root/rtsearch_fast/bench/signatures.json"
"$directory/differential_test" "${1:-10000000}" "${2:-1}"
