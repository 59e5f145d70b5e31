#include <pybind11/native_enum.h>

#include "bindings/bind.h"
#include "core/params.h"

namespace py = pybind11;
using namespace py::literals;

namespace rts {

void BindParams(py::module_& m) {
  py::native_enum<Rule>(m, "Rule", "enum.Enum")
      .value("uct", Rule::kUct)
      .value("puct", Rule::kPuct)
      .value("mcts_g", Rule::kMctsG)
      .value("best_first", Rule::kBestFirst)
      .value("muzero", Rule::kMuZero)
      .value("gumbel", Rule::kGumbel)
      .value("muzero_tree", Rule::kMuZeroTree)
      .value("alphazero", Rule::kAlphaZero)
      .finalize();
  py::native_enum<FirstPlay>(m, "FirstPlay", "enum.Enum")
      .value("first", FirstPlay::kFirst)
      .value("parent", FirstPlay::kParent)
      .value("value", FirstPlay::kValue)
      .value("prior", FirstPlay::kPrior)
      .value("reward", FirstPlay::kReward)
      .finalize();
  py::native_enum<BackupMode>(m, "BackupMode", "enum.Enum")
      .value("mean", BackupMode::kMean)
      .value("max", BackupMode::kMax)
      .value("last", BackupMode::kLast)
      .finalize();
  py::class_<SearchParams>(m, "SearchParams")
      .def(py::init([](Rule rule, BackupMode backup, FirstPlay first_play, bool revisit_terminal,
                       double exploration, double exploration_base, double value_scale,
                       double maxvisit_init, double least_span, double first_play_value,
                       double virtual_loss, double discount, double value_min,
                       double value_max, std::int64_t max_nodes) {
             const SearchParams params{
                 rule,        backup,        first_play,       revisit_terminal, exploration,
                 exploration_base, value_scale, maxvisit_init, least_span, first_play_value,
                 virtual_loss, discount,     value_min,        value_max,  max_nodes};
             params.Validate();
             return params;
           }),
           py::kw_only(), "rule"_a, "backup"_a, "first_play"_a, "revisit_terminal"_a,
           "exploration"_a, "exploration_base"_a, "value_scale"_a, "maxvisit_init"_a,
           "least_span"_a, "first_play_value"_a, "virtual_loss"_a, "discount"_a, "value_min"_a, "value_max"_a,
           "max_nodes"_a, "Settings of a forest, checked.");
}

}  // namespace rts
