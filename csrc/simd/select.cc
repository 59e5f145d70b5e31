#include "simd/select.h"

#include <cstdlib>
#include <string>

#include "core/error.h"

namespace rts {

namespace baseline {
Selection For(const SearchParams& params);
}
#ifdef RTS_X86
namespace avx2 {
Selection For(const SearchParams& params);
}
namespace avx512 {
Selection For(const SearchParams& params);
}
#endif

namespace {

constexpr const char* kNames[] = {"baseline", "avx2", "avx512"};

}  // namespace

bool IsSupported(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return true;
#ifdef RTS_X86
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl");
#endif
    default:
      return false;
  }
}

Isa BestIsa() {
  if (const char* wanted = std::getenv("RTSEARCH_ISA"); wanted != nullptr && *wanted != '\0') {
    for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
      if (std::string(wanted) != NameOf(isa)) continue;
      if (IsSupported(isa)) return isa;
      throw Error(Fault::kInvalidArgument, std::string("RTSEARCH_ISA=") + wanted +
                                               ": this machine or build has it not; unset it");
    }
    throw Error(Fault::kInvalidArgument, std::string("RTSEARCH_ISA=") + wanted +
                                             ": must be baseline, avx2 or avx512, or unset");
  }
  for (const Isa isa : {Isa::kAvx512, Isa::kAvx2}) {
    if (IsSupported(isa)) return isa;
  }
  return Isa::kBaseline;
}

const char* NameOf(Isa isa) { return kNames[static_cast<int>(isa)]; }

Selection SelectionFor(const SearchParams& params, Isa isa) {
#ifdef RTS_X86
  if (isa == Isa::kAvx512) return avx512::For(params);
  if (isa == Isa::kAvx2) return avx2::For(params);
#endif
  return baseline::For(params);
}

}  // namespace rts
