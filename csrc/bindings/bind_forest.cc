// Forest: convert with the GIL held, then release it around pure C++.
#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "bindings/bind.h"
#include "bindings/numpy_view.h"
#include "core/forest.h"

namespace py = pybind11;
using namespace py::literals;

namespace rts {
namespace {

// Scalars come as 64-bit numbers, so that -1 or 2**40 is an unknown id and not a type error.
TreeId ToTreeId(std::int64_t tree) {
  if (tree < 0 || tree > 0x7FFFFFFF) {
    throw Error(Fault::kUnknownTree, "tree " + std::to_string(tree) +
                                         " is not in this forest: ids are in [0, 2**31)");
  }
  return static_cast<TreeId>(tree);
}

NodeId ToNodeId(std::int64_t node) {
  if (node < 0 || node >= kNoNode) {
    throw Error(Fault::kUnknownNode,
                "node " + std::to_string(node) + ": ids are in [0, 2**32 - 1)");
  }
  return static_cast<NodeId>(node);
}

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

// One tree at a time: plain numbers in, plain numbers out, which is several times faster than arrays
// of one. So little is done then that releasing the GIL would cost more than it gives.
bool IsScalar(const py::object& tree) {
  return PyLong_Check(tree.ptr()) ||
         (PyIndex_Check(tree.ptr()) && !py::isinstance<py::array>(tree));
}

std::int64_t ToInteger(const py::object& number, const char* name) {
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(number.ptr()));
  if (!index) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + " is a " + Py_TYPE(number.ptr())->tp_name +
                         ": pass an integer, as the tree is one");
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow == 0) return value;
  return overflow > 0 ? std::numeric_limits<std::int64_t>::max()
                      : std::numeric_limits<std::int64_t>::min();
}

double ToNumber(const py::object& number, const char* name) {
  if (PyFloat_Check(number.ptr())) return PyFloat_AS_DOUBLE(number.ptr());
  if (!py::isinstance<py::array>(number)) {
    const double value = PyFloat_AsDouble(number.ptr());
    if (value != -1.0 || PyErr_Occurred() == nullptr) return value;
    PyErr_Clear();
  }
  throw py::type_error(std::string(name) + " is a " + Py_TYPE(number.ptr())->tp_name +
                       ": pass a number, as the tree is one");
}

// One entry of a batch.
struct Entry {
  TreeId tree;
  NodeId node;

  Entry(const py::object& tree_object, const py::object& node_object)
      : tree(ToTreeId(ToInteger(tree_object, "trees"))),
        node(ToNodeId(ToInteger(node_object, "nodes"))) {}
  std::span<const TreeId> trees() const { return {&tree, 1}; }
  std::span<const NodeId> nodes() const { return {&node, 1}; }
};

py::object Select(Forest& forest, const py::object& trees) {
  if (IsScalar(trees)) {
    const TreeId tree = ToTreeId(ToInteger(trees, "trees"));
    NodeId leaf = kNoNode;
    forest.Select({&tree, 1}, {&leaf, 1});
    return py::int_(leaf);
  }
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  auto [leaves, out] = NewArray<NodeId>(tree_span.size());
  {
    const py::gil_scoped_release nogil;
    forest.Select(tree_span, out);
  }
  return leaves;
}

std::int32_t ToCount(const py::object& counts) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::clamp(ToInteger(counts, "counts"), -kMost, kMost));
}

// What is told of new children.
struct Told {
  std::span<const float> priors;
  std::span<const std::uint8_t> terminal;
  std::span<const float> rewards;

  Told(const py::object& prior_column, const py::object& terminal_column,
       const py::object& reward_column)
      : priors(AsOptionalSpan<float>(prior_column, "priors")),
        rewards(AsOptionalSpan<float>(reward_column, "rewards")) {
    const auto flags = AsOptionalSpan<bool>(terminal_column, "terminal");
    terminal = {reinterpret_cast<const std::uint8_t*>(flags.data()), flags.size()};
  }
};

py::object Expand(Forest& forest, const py::object& trees, const py::object& nodes,
                  const py::object& counts, const py::object& priors, const py::object& terminal,
                  const py::object& rewards) {
  const Told told(priors, terminal, rewards);
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    const std::int32_t count = ToCount(counts);
    NodeId first = kNoNode;
    forest.Expand(entry.trees(), entry.nodes(), {&count, 1}, told.priors, told.terminal,
                  told.rewards, {&first, 1});
    return py::int_(first);
  }
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  const auto node_span = AsSpan<NodeId>(nodes, "nodes");
  const auto count_span = AsSpan<std::int32_t>(counts, "counts");
  auto [first, out] = NewArray<NodeId>(tree_span.size());
  {
    const py::gil_scoped_release nogil;
    forest.Expand(tree_span, node_span, count_span, told.priors, told.terminal, told.rewards, out);
  }
  return first;
}

py::tuple Advance(Forest& forest, const py::object& trees, const py::object& nodes,
                  const py::object& counts, const py::object& values, const py::object& priors,
                  const py::object& terminal, const py::object& rewards) {
  const Told told(priors, terminal, rewards);
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    const std::int32_t count = ToCount(counts);
    const double value = ToNumber(values, "values");
    NodeId first = kNoNode;
    NodeId leaf = kNoNode;
    forest.Advance(entry.trees(), entry.nodes(), {&count, 1}, {&value, 1}, told.priors,
                   told.terminal, told.rewards, {&first, 1}, {&leaf, 1});
    return py::make_tuple(first, leaf);
  }
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  const auto node_span = AsSpan<NodeId>(nodes, "nodes");
  const auto count_span = AsSpan<std::int32_t>(counts, "counts");
  const auto value_span = AsSpan<double>(values, "values");
  auto [first, first_out] = NewArray<NodeId>(tree_span.size());
  auto [leaves, leaf_out] = NewArray<NodeId>(tree_span.size());
  {
    const py::gil_scoped_release nogil;
    forest.Advance(tree_span, node_span, count_span, value_span, told.priors, told.terminal,
                   told.rewards, first_out, leaf_out);
  }
  return py::make_tuple(first, leaves);
}

void Backup(Forest& forest, const py::object& trees, const py::object& nodes,
            const py::object& values, bool release) {
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    const double value = ToNumber(values, "values");
    forest.Backup(entry.trees(), entry.nodes(), {&value, 1}, release);
    return;
  }
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  const auto node_span = AsSpan<NodeId>(nodes, "nodes");
  const auto value_span = AsSpan<double>(values, "values");
  const py::gil_scoped_release nogil;
  forest.Backup(tree_span, node_span, value_span, release);
}

void Release(Forest& forest, const py::object& trees, const py::object& nodes) {
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    forest.Release(entry.trees(), entry.nodes());
    return;
  }
  const auto tree_span = AsSpan<TreeId>(trees, "trees");
  const auto node_span = AsSpan<NodeId>(nodes, "nodes");
  const py::gil_scoped_release nogil;
  forest.Release(tree_span, node_span);
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
  py::class_<Forest>(m, "Forest")
      .def(py::init<const SearchParams&>(), "params"_a)
      .def("create_trees",
           [](Forest& f, std::int64_t count) {
             return ToArray(WithoutGil([&] { return f.CreateTrees(count); }));
           },
           "count"_a, "Make trees; returns their ids, int32.")
      .def("drop_trees",
           [](Forest& f, const py::object& trees) {
             const auto span = AsSpan<TreeId>(trees, "trees");
             WithoutGil([&] { f.DropTrees(span); });
           },
           "trees"_a, "Forget trees; their memory goes to new ones.")
      .def("select", &Select, "trees"_a,
           "Best open leaf of each tree, now in flight; uint32 (of one tree: int).")
      // No keyword-only arguments, and no defaults: pybind11 takes as long for them as for the rest.
      .def("expand", &Expand, "trees"_a, "nodes"_a, "counts"_a, "priors"_a, "terminal"_a,
           "rewards"_a,
           "Append children; returns the first child of each node, uint32 (of one node: int).")
      .def("backup", &Backup, "trees"_a, "nodes"_a, "values"_a, "release"_a,
           "Back values up to the roots.")
      .def("advance", &Advance, "trees"_a, "nodes"_a, "counts"_a, "values"_a, "priors"_a,
           "terminal"_a, "rewards"_a,
           "Expand, back up with release, and select again; first children and next leaves.")
      .def("release", &Release, "trees"_a, "nodes"_a, "Take selected leaves out of flight.")
      .def("set_rewards", &SetRewards, "trees"_a, "nodes"_a, "rewards"_a,
           "Set rewards of the edges to unvisited nodes.")
      .def("set_gumbel",
           [](Forest& f, std::int64_t tree, const py::object& noise, std::int64_t num_simulations,
              std::int64_t max_considered) {
             const TreeId t = ToTreeId(tree);
             const auto span = AsSpan<float>(noise, "noise");
             WithoutGil([&] { f.SetGumbel(t, span, num_simulations, max_considered); });
           },
           "tree"_a, "noise"_a, "num_simulations"_a, "max_considered"_a,
           "Plan the search of a root by the rule gumbel.")
      .def("reroot",
           [](Forest& f, std::int64_t tree, std::int64_t node) {
             const TreeId t = ToTreeId(tree);
             const NodeId n = ToNodeId(node);
             return ToArray(WithoutGil([&] { return f.Reroot(t, n); }));
           },
           "tree"_a, "node"_a, "Make node the root; returns the new id of each old node, uint32.")
      .def("children",
           [](Forest& f, std::int64_t tree, std::int64_t node) {
             return ToArray(f.Children(ToTreeId(tree), ToNodeId(node)));
           },
           "tree"_a, "node"_a, "Ids of the children, ascending; uint32.")
      .def("columns", &Columns, "tree"_a, "Copies of all node fields, by name.")
      .def("num_nodes", [](Forest& f, std::int64_t tree) { return f.NumNodes(ToTreeId(tree)); },
           "tree"_a, "Nodes of the tree, the root included.")
      .def("has_open_leaf",
           [](Forest& f, std::int64_t tree) { return f.HasOpenLeaf(ToTreeId(tree)); }, "tree"_a,
           "Would select find a leaf now?")
      .def("signature",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             return WithoutGil([&] { return f.Signature(t); });
           },
           "tree"_a, "64-bit hash of the tree.")
      .def("check_invariants",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             WithoutGil([&] { f.CheckInvariants(t); });
           },
           "tree"_a, "Raise InvariantError if the tree contradicts itself.")
      .def("to_bytes",
           [](Forest& f, std::int64_t tree) {
             const TreeId t = ToTreeId(tree);
             const auto bytes = WithoutGil([&] { return f.ToBytes(t); });
             return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
           },
           "tree"_a, "The tree as bytes, with format version and checksum.")
      .def("from_bytes",
           [](Forest& f, const py::bytes& data) {
             const std::string_view view(data);
             const std::span<const std::byte> bytes(
                 reinterpret_cast<const std::byte*>(view.data()), view.size());
             return WithoutGil([&] { return f.FromBytes(bytes); });
           },
           "data"_a, "Add a tree from bytes; returns its id.")
      .def_property_readonly("num_trees", &Forest::num_trees, "Trees not dropped.");
}

}  // namespace rts
