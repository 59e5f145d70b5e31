// Forest: convert with the GIL held, then release it around pure C++.
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "bindings/bind.h"
#include "bindings/ids.h"
#include "bindings/numpy_view.h"
#include "core/forest.h"

namespace py = pybind11;
using namespace py::literals;

namespace rts {
namespace {

template <typename T>
py::array_t<T> ToArray(const std::vector<T>& values) {
  auto [array, out] = NewArray<T>(values.size());
  std::copy(values.begin(), values.end(), out.begin());
  return array;
}

template <typename T, typename F>
py::array_t<T> Column(const std::vector<Node>& nodes, F field) {
  auto [array, out] = NewArray<T>(nodes.size());
  std::transform(nodes.begin(), nodes.end(), out.begin(), field);
  return array;
}

void SetRewards(Forest& forest, const py::object& trees, const py::object& nodes,
                const py::object& rewards) {
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  const auto node_span = AsSpan<NodeId>(nodes, "nodes");
  const auto reward_span = AsSpan<float>(rewards, "rewards");
  const py::gil_scoped_release nogil;
  forest.SetRewards(tree_span, node_span, reward_span);
}

py::dict Columns(Forest& forest, std::int64_t tree) {
  const std::vector<Node> nodes = forest.Nodes(ToTreeId(tree));
  py::dict columns;
  columns["parent"] = Column<NodeId>(nodes, [](const Node& n) { return n.parent; });
  columns["visit_count"] = Column<std::uint32_t>(nodes, [](const Node& n) { return n.visit_count; });
  columns["value_sum"] = Column<double>(nodes, [](const Node& n) { return n.value_sum; });
  columns["prior"] = Column<float>(nodes, [](const Node& n) { return n.prior; });
  columns["edge_reward"] = Column<float>(nodes, [](const Node& n) { return n.edge_reward; });
  columns["in_flight"] = Column<std::uint16_t>(nodes, [](const Node& n) { return n.in_flight; });
  columns["terminal"] = Column<bool>(nodes, [](const Node& n) { return n.Has(Node::kTerminal); });
  columns["expanded"] = Column<bool>(nodes, [](const Node& n) { return n.Has(Node::kExpanded); });
  return columns;
}

template <typename F>
auto WithoutGil(const F& f) {
  const py::gil_scoped_release nogil;
  return f();
}

}  // namespace

void BindForest(py::module_& m) {
  m.attr("NO_NODE") = py::int_(kNoNode);
  m.attr("NODE_BYTES") = py::int_(kNodeBytes);
  py::class_<Forest> forest(m, "Forest");
  BindMoves(forest);
  forest.def(py::init<const SearchParams&>(), "params"_a)
      .def("create_trees",
           [](Forest& f, std::int64_t count) {
             return ToArray(WithoutGil([&] { return f.CreateTrees(count); }));
           },
           "count"_a = 1,
           "Make `count` trees of one unvisited root each; returns their ids, int32 [count].")
      .def("drop_trees",
           [](Forest& f, const py::object& trees) {
             const auto span = AsSpan<TreeId>(trees, "trees");
             WithoutGil([&] { f.DropTrees(span); });
           },
           "trees"_a,
           "Forget trees. Their ids are not used again; their memory goes to new trees.")
      .def("backup_path",
           [](Forest& f, std::int64_t tree, std::int64_t node, const py::object& values) {
             f.BackupPath(ToTreeId(tree), ToNodeId(node), AsSpan<double>(values, "values"));
           },
           "tree"_a, "node"_a, "values"_a,
           R"(Count one finished simulation with a value of its own for each node of its path.

For returns that are no discounted sums of rewards.

Parameters
----------
tree, node : int
values : float64 [D + 1]
    For `node`, which lies D deep, and the nodes above it up to the root, in
    [value_min, value_max].)")
      .def("walk",
           [](Forest& f, std::int64_t tree, std::int64_t node, double margin) {
             return f.Walk(ToTreeId(tree), ToNodeId(node), margin);
           },
           "tree"_a, "node"_a, "margin"_a,
           R"(Go down from a node by the best score, to a leaf or a decision that is close.

Claims nothing, and takes no notice of what is open: for callers who take close decisions
themselves (rules "uct", "puct" and "alphazero").

Parameters
----------
tree, node : int
margin : float
    >= 0. A node is not passed whose best child leads another by no more than this.

Returns
-------
int
    A node without children, or one with a close decision.)")
      .def("set_rewards", &SetRewards, "trees"_a, "nodes"_a, "rewards"_a,
           R"(Set the rewards of the edges to nodes that no backup has passed yet.

For models that tell an edge's reward when they judge the node below it.

Parameters
----------
trees, nodes : int32 [B], uint32 [B]
rewards : float32 [B]
    Finite.

Raises
------
TreeStateError
    A node is the root or has visits.)")
      .def("set_gumbel",
           [](Forest& f, std::int64_t tree, const py::object& noise, std::int64_t num_simulations,
              std::int64_t max_considered) {
             const TreeId t = ToTreeId(tree);
             const auto span = AsSpan<float>(noise, "noise");
             WithoutGil([&] { f.SetGumbel(t, span, num_simulations, max_considered); });
           },
           "tree"_a, "noise"_a, py::kw_only(), "num_simulations"_a, "max_considered"_a = 16,
           R"(Plan the search of an expanded root by sequential halving (rule "gumbel").

The plan is for this root: `reroot` and `from_bytes` forget it. A root without one has no
noise and considers 16 children, half as many after each round of one visit.

Parameters
----------
tree : int
noise : float32 [K]
    Gumbel noise of the root's K children, finite; zeros for none.
num_simulations : int
    Simulations that the halving shares out, >= 1.
max_considered : int
    Children with which it begins, at most, >= 1. Children with prior 0 never count.

Raises
------
InvalidArgumentError
    Also where the forest's rule is another one.)")
      .def("set_ties",
           [](Forest& f, const py::object& trees, std::optional<std::uint64_t> seed) {
             const auto span = AsSpan<TreeId>(trees, "trees");
             WithoutGil([&] { f.SetTies(span, seed); });
           },
           "trees"_a, "seed"_a,
           R"(Break ties of the rule "muzero_tree" by chance, or again in favour of the lower id.

By chance, each child within 1e-6 of the best is as likely, as it is in LightZero. `reroot`
keeps that, `from_bytes` does not.

Parameters
----------
trees : int32 [B]
    Each draws by its place here.
seed : int or None
    In [0, 2**64); None for the lower id.

Raises
------
InvalidArgumentError
    The forest's rule is another one.)")
      .def("reroot",
           [](Forest& f, std::int64_t tree, std::int64_t node) {
             const TreeId t = ToTreeId(tree);
             const NodeId n = ToNodeId(node);
             return ToArray(WithoutGil([&] { return f.Reroot(t, n); }));
           },
           "tree"_a, "node"_a,
           R"(Make `node` the root, keep what is below it and drop the rest.

Returns
-------
uint32 [N before]
    The new id of each old node, NO_NODE for dropped ones.

Raises
------
TreeStateError
    Leaves are in flight.)")
      .def("children",
           [](Forest& f, std::int64_t tree, std::int64_t node) {
             return ToArray(f.Children(ToTreeId(tree), ToNodeId(node)));
           },
           "tree"_a, "node"_a, "Ids of a node's children, ascending; uint32 [K].")
      .def("_columns", &Columns, "tree"_a, "Copies of all fields of all nodes, by name.")
      .def("num_nodes", [](Forest& f, std::int64_t tree) { return f.NumNodes(ToTreeId(tree)); },
           "tree"_a, "Nodes of a tree, the root included.")
      .def("has_open_leaf",
           [](Forest& f, std::int64_t tree) { return f.HasOpenLeaf(ToTreeId(tree)); }, "tree"_a,
           "Would `select` find a leaf now?")
      .def("signature",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             return WithoutGil([&] { return f.Signature(t); });
           },
           "tree"_a,
           "64-bit hash of structure, counts and bits of the values; in-flight is left out.")
      .def("check_invariants",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             WithoutGil([&] { f.CheckInvariants(t); });
           },
           "tree"_a, "Raise InvariantError if the tree contradicts itself. O(nodes), for tests.")
      .def("to_bytes",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             const auto bytes = WithoutGil([&] { return f.ToBytes(t); });
             return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
           },
           "tree"_a, R"(Export a tree (format and checksum: csrc/core/bytes.h).

In-flight and the plan of `set_gumbel` are left out.)")
      .def("from_bytes",
           [](Forest& f, const py::bytes& data) {
             const std::string_view view(data);
             const std::span<const std::byte> bytes(
                 reinterpret_cast<const std::byte*>(view.data()), view.size());
             return WithoutGil([&] { return f.FromBytes(bytes); });
           },
           "data"_a, R"(Add an exported tree; returns its id.

Raises
------
CorruptDataError
    The bytes are damaged, cut short, or of another version.
ArenaFullError
    The tree has more than max_nodes nodes.)")
      .def_property_readonly("num_trees", &Forest::num_trees,
                             "Trees that were created and not dropped.");
}

}  // namespace rts
