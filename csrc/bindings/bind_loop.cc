// What a bench asks of the core, so that it needs no compiler: the synthetic search.
#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/bind.h"
#include "bindings/numpy_view.h"
#include "loop/synthetic.h"
#include "simd/select.h"

namespace py = pybind11;
using namespace py::literals;

namespace rts {

void BindLoop(py::module_& m) {
  m.attr("SYNTHETIC_DEPTH") = kSyntheticDepth;
  m.attr("SYNTHETIC_EXPLORATION") = kSyntheticExploration;
  m.def("instruction_set", [] { return NameOf(BestIsa()); },
        "What selections are computed with: baseline, avx2 or avx512.");
  m.def(
      "run_synthetic",
      [](Rule rule, std::int32_t children, std::int64_t simulations, std::int64_t batch,
         std::int64_t trees, std::int64_t repeats) {
        SyntheticResult result;
        {
          const py::gil_scoped_release nogil;
          result = Run({rule, children, simulations, batch, trees, repeats});
        }
        auto [terminal, out] = NewArray<bool>(result.terminal.size());
        std::copy(result.terminal.begin(), result.terminal.end(), out.begin());
        py::dict found;
        found["ns"] = result.ns;
        found["bytes_per_node"] = result.bytes_per_node;
        found["signature"] = result.signature;
        found["terminal"] = terminal;
        return found;
      },
      py::kw_only(), "rule"_a, "children"_a, "simulations"_a, "batch"_a, "trees"_a, "repeats"_a,
      "Search synthetic trees in C++; ns a simulation, bytes a node, signature, terminal nodes.");
}

}  // namespace rts
