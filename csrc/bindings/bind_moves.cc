// Forest: the moves of a search, in batches of arrays or one by one as plain numbers.
#include <algorithm>
#include <limits>
#include <string>

#include "bindings/bind.h"
#include "bindings/fast_call.h"
#include "bindings/ids.h"
#include "bindings/numpy_view.h"
#include "core/forest.h"

namespace py = pybind11;

namespace rts {
namespace {

// --- plain numbers ------------------------------------------------------------------

// One tree at a time: plain numbers in, plain numbers out, which is several times faster than arrays
// of one. So little is done then that releasing the GIL would cost more than it gives.
bool IsScalar(PyObject* tree) {
  return PyLong_Check(tree) || (PyIndex_Check(tree) && !py::isinstance<py::array>(tree));
}

[[noreturn]] void RefuseType(PyObject* number, const char* name, const char* wanted) {
  throw py::type_error(std::string(name) + " is a " + Py_TYPE(number)->tp_name + ": pass " +
                       wanted + ", as the tree is one");
}

std::int64_t ToInteger(PyObject* number, const char* name) {
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(number));
  if (!index) {
    PyErr_Clear();
    RefuseType(number, name, "an integer");
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow == 0) return value;
  return overflow > 0 ? std::numeric_limits<std::int64_t>::max()
                      : std::numeric_limits<std::int64_t>::min();
}

double ToNumber(PyObject* number, const char* name) {
  if (PyFloat_Check(number)) return PyFloat_AS_DOUBLE(number);
  if (!py::isinstance<py::array>(number)) {
    const double value = PyFloat_AsDouble(number);
    if (value != -1.0 || PyErr_Occurred() == nullptr) return value;
    PyErr_Clear();
  }
  RefuseType(number, name, "a number");
}

std::int32_t ToCount(PyObject* counts) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::clamp(ToInteger(counts, "counts"), -kMost, kMost));
}

bool ToFlag(PyObject* flag, const char* name) {
  if (flag == nullptr || flag == Py_False) return false;
  if (flag == Py_True) return true;
  const PyNumberMethods* const number = Py_TYPE(flag)->tp_as_number;
  if (number != nullptr && number->nb_bool != nullptr) {  // NumPy's, for one
    const int is_true = PyObject_IsTrue(flag);
    if (is_true < 0) throw py::error_already_set();
    return is_true != 0;
  }
  throw py::type_error(std::string(name) + " is a " + Py_TYPE(flag)->tp_name +
                       ": pass True or False");
}

// One entry of a batch.
struct Entry {
  TreeId tree;
  NodeId node;

  Entry(PyObject* tree_number, PyObject* node_number)
      : tree(ToTreeId(ToInteger(tree_number, "trees"))),
        node(ToNodeId(ToInteger(node_number, "nodes"))) {}
  std::span<const TreeId> trees() const { return {&tree, 1}; }
  std::span<const NodeId> nodes() const { return {&node, 1}; }
};

// A batch of them.
struct Batch {
  std::span<const TreeId> trees;
  std::span<const NodeId> nodes;

  Batch(PyObject* tree_array, PyObject* node_array)
      : trees(AsSpan<TreeId>(tree_array, "trees")), nodes(AsSpan<NodeId>(node_array, "nodes")) {}
};

// What is told of new children; null where nothing is.
struct Told {
  std::span<const float> priors;
  std::span<const std::uint8_t> terminal;
  std::span<const float> rewards;

  Told(PyObject* prior_column, PyObject* terminal_column, PyObject* reward_column)
      : priors(Column<float>(prior_column, "priors")),
        rewards(Column<float>(reward_column, "rewards")) {
    const auto flags = Column<bool>(terminal_column, "terminal");
    terminal = {reinterpret_cast<const std::uint8_t*>(flags.data()), flags.size()};
  }

 private:
  template <typename T>
  static std::span<const T> Column(PyObject* column, const char* name) {
    return column == nullptr || column == Py_None ? std::span<const T>()
                                                  : AsSpan<T>(column, name);
  }
};

// --- the moves ----------------------------------------------------------------------

py::object Select(Forest& forest, const CallArguments& call) {
  static const Signature<1> signature("select", {"trees"}, 1, 1);
  const auto [trees] = signature.Match(call);
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

py::object Expand(Forest& forest, const CallArguments& call) {
  static const Signature<6> signature(
      "expand", {"trees", "nodes", "counts", "priors", "terminal", "rewards"}, 3, 3);
  const auto [trees, nodes, counts, priors, terminal, rewards] = signature.Match(call);
  const Told told(priors, terminal, rewards);
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    const std::int32_t count = ToCount(counts);
    NodeId first = kNoNode;
    forest.Expand(entry.trees(), entry.nodes(), {&count, 1}, told.priors, told.terminal,
                  told.rewards, {&first, 1});
    return py::int_(first);
  }
  const Batch batch(trees, nodes);
  const auto count_span = AsSpan<std::int32_t>(counts, "counts");
  auto [first, out] = NewArray<NodeId>(batch.trees.size());
  {
    const py::gil_scoped_release nogil;
    forest.Expand(batch.trees, batch.nodes, count_span, told.priors, told.terminal, told.rewards,
                  out);
  }
  return first;
}

py::object Backup(Forest& forest, const CallArguments& call) {
  static const Signature<4> signature("backup", {"trees", "nodes", "values", "release"}, 3, 3);
  const auto [trees, nodes, values, release_flag] = signature.Match(call);
  const bool release = ToFlag(release_flag, "release");
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    const double value = ToNumber(values, "values");
    forest.Backup(entry.trees(), entry.nodes(), {&value, 1}, release);
    return py::none();
  }
  const Batch batch(trees, nodes);
  const auto value_span = AsSpan<double>(values, "values");
  {
    const py::gil_scoped_release nogil;
    forest.Backup(batch.trees, batch.nodes, value_span, release);
  }
  return py::none();
}

py::object Advance(Forest& forest, const CallArguments& call) {
  static const Signature<7> signature(
      "advance", {"trees", "nodes", "counts", "values", "priors", "terminal", "rewards"}, 4, 4);
  const auto [trees, nodes, counts, values, priors, terminal, rewards] = signature.Match(call);
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
  const Batch batch(trees, nodes);
  const auto count_span = AsSpan<std::int32_t>(counts, "counts");
  const auto value_span = AsSpan<double>(values, "values");
  auto [first, first_out] = NewArray<NodeId>(batch.trees.size());
  auto [leaves, leaf_out] = NewArray<NodeId>(batch.trees.size());
  {
    const py::gil_scoped_release nogil;
    forest.Advance(batch.trees, batch.nodes, count_span, value_span, told.priors, told.terminal,
                   told.rewards, first_out, leaf_out);
  }
  return py::make_tuple(first, leaves);
}

py::object Release(Forest& forest, const CallArguments& call) {
  static const Signature<2> signature("release", {"trees", "nodes"}, 2, 2);
  const auto [trees, nodes] = signature.Match(call);
  if (IsScalar(trees)) {
    const Entry entry(trees, nodes);
    forest.Release(entry.trees(), entry.nodes());
    return py::none();
  }
  const Batch batch(trees, nodes);
  {
    const py::gil_scoped_release nogil;
    forest.Release(batch.trees, batch.nodes);
  }
  return py::none();
}

}  // namespace

void BindMoves(py::class_<Forest>& forest) {
  DefineFast<Forest, &Select>(forest, "select", R"(select($self, trees)
--

Take the best open leaf of each tree and count it in flight.

A leaf in flight is closed until it is released, so one tree may be named several times in
a batch and gives as many different leaves.

Parameters
----------
trees : int32 [B] or int

Returns
-------
uint32 [B] or int
    NO_NODE where no leaf is open (or 65,535 are in flight).)");

  DefineFast<Forest, &Expand>(
      forest, "expand",
      R"(expand($self, trees, nodes, counts, *, priors=None, terminal=None, rewards=None)
--

Append children to nodes, whether or not these have children already.

Parameters
----------
trees, nodes : int32 [B], uint32 [B], or int
counts : int32 [B] or int
    New children of each node, >= 0. A leaf that gets none is a dead end from now on.
priors : float32 [sum(counts)], optional
    Policy probabilities in [0, 1] (with first_play "prior": finite); equal within each
    expansion if left out.
terminal : bool [sum(counts)], optional
rewards : float32 [sum(counts)], optional
    Rewards of the new edges, finite.

Returns
-------
uint32 [B] or int
    The first new child of each node; the others follow it.

Raises
------
ArenaFullError
    A tree would exceed max_nodes.
TreeStateError
    A node is terminal.)");

  DefineFast<Forest, &Backup>(forest, "backup",
                              R"(backup($self, trees, nodes, values, *, release=False)
--

Count one finished simulation per entry at its node and on the path to the root.

Parameters
----------
trees, nodes : int32 [B], uint32 [B], or int
values : float64 [B] or float
    In [value_min, value_max].
release : bool
    The nodes are selected leaves: release them too, in the same call.

Raises
------
TreeStateError
    With ``release``: a node is not in flight, or named twice.)");

  DefineFast<Forest, &Advance>(
      forest, "advance",
      R"(advance($self, trees, nodes, counts, values, *, priors=None, terminal=None, rewards=None)
--

Take selected leaves through a whole simulation, and select the next ones.

The same as `expand`, then `backup` with ``release``, then `select` in the same trees, but
checked as one and with a third of the cost of calling.

Parameters
----------
trees, nodes, counts, priors, terminal, rewards
    As for `expand`.
values
    As for `backup`.

Returns
-------
first_children, leaves : uint32 [B] or int
    What `expand` and `select` return.

Raises
------
ArenaFullError, TreeStateError
    As `expand` and `backup` raise them.)");

  DefineFast<Forest, &Release>(forest, "release", R"(release($self, trees, nodes)
--

Take selected leaves out of flight, because their result is in or will never come.

Raises
------
TreeStateError
    A node is not in flight, or named twice.)");
}

}  // namespace rts
