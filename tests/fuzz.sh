#!/usr/bin/env bash
# Fuzz the core with libFuzzer, under ASan and UBSan: operations against the twin, imports, settings.
#
#   tests/fuzz.sh [SECONDS]      (of each target, default 60)
#
# What was found of interest stays in build/fuzz/corpus, and the next run starts from it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/support/build.sh"

seconds=${1:-60}
directory=$root/build/fuzz
empty='extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
if ! clang++ -x c++ - -fsanitize=fuzzer -o /dev/null <<<"$empty" 2>/dev/null; then
  stage "fuzz: skipped, there is no clang++ with libFuzzer here"
  [[ -z ${RTS_REQUIRE_CLANG:-} ]]
  exit
fi
build "$directory" "fuzz_operations fuzz_import fuzz_params" -DRTS_BUILD_FUZZ=ON \
  -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g" -DRTS_SANITIZE=fuzzer-no-link,address,undefined

export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
printf '%-12s %12s %8s %8s\n' target executions edges inputs
for target in operations import params; do
  corpus=$directory/corpus/$target
  log=$directory/$target.log
  mkdir -p "$corpus"
  "$directory/fuzz_$target" "$corpus" -max_total_time="$seconds" -max_len=1024 -timeout=600 \
    -print_final_stats=1 -artifact_prefix="$directory/$target-" >"$log" 2>&1 || {
    tail -n 60 "$log"
    stage "fuzz: $directory/fuzz_$target FILE shows it again"
    exit 1
  }
  printf '%-12s %12s %8s %8s\n' "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)" \
    "$(find "$corpus" -type f | wc -l)"
done
