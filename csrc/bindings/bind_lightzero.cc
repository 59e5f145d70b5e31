// LightZero's trees (csrc/lockstep): lists as that has them, or NumPy arrays, which are read in place
// where they hold float32. Whoever passes the players as an array is answered with arrays.
#include <pybind11/stl.h>

#include <array>
#include <cmath>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <utility>

#include "bindings/bind.h"
#include "bindings/fast_call.h"
#include "bindings/numpy_view.h"
#include "lockstep/lockstep.h"
#include "support/mix.h"

namespace py = pybind11;
using namespace py::literals;

namespace rts {
namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using IntArray = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;

[[noreturn]] void RefuseType(const char* name, const py::handle& object, const char* wanted) {
  throw py::type_error(std::string(name) + " is a " + Py_TYPE(object.ptr())->tp_name + ": pass " +
                       wanted);
}

// An array as it is, if it holds float32 in C order, else a copy that does.
FloatArray AsFloats(const py::handle& object) {
  const auto array = py::reinterpret_borrow<py::array>(object);
  constexpr int kAsItIs =
      int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
  if (array.dtype().num() == py::detail::npy_api::NPY_FLOAT_ &&
      (array.flags() & kAsItIs) == kAsItIs && array.dtype().byteorder() == '=') {
    return py::reinterpret_borrow<FloatArray>(object);
  }
  FloatArray copy = FloatArray::ensure(object);
  if (!copy) throw py::error_already_set();
  return copy;
}

// A list or tuple, whose entries may be looked at one by one.
bool IsSequence(const py::handle& object) {
  return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
}

void AppendFloats(const py::handle& sequence, const char* name, std::vector<float>& out) {
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(sequence.ptr());
  PyObject** const items = PySequence_Fast_ITEMS(sequence.ptr());
  for (Py_ssize_t i = 0; i < size; ++i) {
    if (PyFloat_CheckExact(items[i])) {
      out.push_back(static_cast<float>(PyFloat_AS_DOUBLE(items[i])));
      continue;
    }
    const double value = PyFloat_AsDouble(items[i]);
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      RefuseType(name, items[i], "numbers in it");
    }
    out.push_back(static_cast<float>(value));
  }
}

// One row of numbers, and what keeps it alive.
struct Floats {
  std::vector<float> copied;
  FloatArray array;
  std::span<const float> view;

  std::span<const float> Read(const py::object& object, const char* name) {
    if (py::isinstance<py::array>(object)) {
      array = AsFloats(object);
      if (array.ndim() != 1) {
        throw Error(Fault::kInvalidArgument, std::string(name) + " has " +
                                                 std::to_string(array.ndim()) +
                                                 " dimensions: pass one number for each root");
      }
      return view = {array.data(), static_cast<std::size_t>(array.size())};
    }
    if (!IsSequence(object)) RefuseType(name, object, "a list or a NumPy array of numbers");
    copied.clear();
    AppendFloats(object, name, copied);
    return view = copied;
  }
};

// One row for each root.
struct Table {
  std::vector<float> copied;
  std::vector<std::size_t> ends;
  FloatArray array;
  Rows rows;

  const Rows& Read(const py::object& object, const char* name) {
    rows.clear();
    if (py::isinstance<py::array>(object)) {
      array = AsFloats(object);
      if (array.ndim() != 2) {
        throw Error(Fault::kInvalidArgument, std::string(name) + " has " +
                                                 std::to_string(array.ndim()) +
                                                 " dimensions: pass one row for each root");
      }
      const auto width = static_cast<std::size_t>(array.shape(1));
      for (py::ssize_t i = 0; i < array.shape(0); ++i) {
        rows.emplace_back(array.data() + static_cast<std::size_t>(i) * width, width);
      }
      return rows;
    }
    if (!IsSequence(object)) RefuseType(name, object, "a list of lists or a NumPy array");
    copied.clear();
    ends.clear();
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(object.ptr());
    for (Py_ssize_t i = 0; i < size; ++i) {
      const py::handle row = PySequence_Fast_ITEMS(object.ptr())[i];
      if (IsSequence(row)) {
        AppendFloats(row, name, copied);
      } else if (py::isinstance<py::array>(row)) {
        Floats one;
        const auto view = one.Read(py::reinterpret_borrow<py::object>(row), name);
        copied.insert(copied.end(), view.begin(), view.end());
      } else {
        RefuseType(name, row, "lists or arrays of numbers in it");
      }
      ends.push_back(copied.size());
    }
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      rows.emplace_back(copied.data() + begin, end - begin);
      begin = end;
    }
    return rows;
  }
};

void ReadPlayers(const py::object& object, std::vector<std::int32_t>& out) {
  out.clear();
  if (py::isinstance<py::array>(object)) {
    const auto given = py::reinterpret_borrow<py::array>(object);
    const auto kind = given.dtype().kind();
    if (kind != 'i' && kind != 'u') RefuseType("to_play_batch", object, "integers");
    constexpr int kAsItIs =
      int{py::array::c_style} | int{py::detail::npy_api::NPY_ARRAY_ALIGNED_};
    if (kind == 'i' && given.itemsize() == sizeof(std::int64_t) &&
        given.dtype().byteorder() == '=' && (given.flags() & kAsItIs) == kAsItIs) {
      const auto* const players = static_cast<const std::int64_t*>(given.data());
      for (py::ssize_t i = 0; i < given.size(); ++i) {
        const auto player = static_cast<std::int32_t>(players[i]);
        out.push_back(player == players[i] ? player : 0);  // 0 is nobody
      }
      return;
    }
    const auto array = IntArray::ensure(object);
    if (!array) throw py::error_already_set();
    out.assign(array.data(), array.data() + array.size());
    return;
  }
  if (!IsSequence(object)) RefuseType("to_play_batch", object, "a list or array of -1, 1 or 2");
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(object.ptr());
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* const item = PySequence_Fast_ITEMS(object.ptr())[i];
    int overflow = 0;
    const long player = PyLong_Check(item) ? PyLong_AsLongAndOverflow(item, &overflow) : 0;
    if (!PyLong_Check(item)) RefuseType("to_play_batch", item, "integers in it");
    out.push_back(overflow != 0 || player != static_cast<std::int32_t>(player)
                      ? 0  // which no player has
                      : static_cast<std::int32_t>(player));
  }
}

// As pybind11 makes one, but without its vectors of shapes and strides.
py::object ToArray(const std::vector<std::int32_t>& values) {
  const auto& numpy = py::detail::npy_api::get();
  static PyObject* const dtype = py::dtype::of<std::int64_t>().release().ptr();
  const auto size = static_cast<Py_intptr_t>(values.size());
  Py_INCREF(dtype);  // which the array takes over
  auto array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, dtype, 1, &size, nullptr, nullptr, 0, nullptr));
  if (!array) throw py::error_already_set();
  void* const data = py::detail::array_proxy(array.ptr())->data;
  std::copy(values.begin(), values.end(), static_cast<std::int64_t*>(data));
  return array;
}

py::object ToList(const std::vector<std::int32_t>& values) {
  py::list list(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), PyLong_FromLong(values[i]));
  }
  return list;
}

// Seeds of the searches to come, one after the other.
std::uint64_t& Luck() {
  static std::uint64_t luck = [] {
    std::random_device device;
    return std::uint64_t{device()} << 32 | device();
  }();
  return luck;
}

struct Roots {
  Lockstep search;
  std::uint64_t id;    // of no other Roots
  std::uint64_t ties;  // seed
  Floats rewards, values;
  Table logits, noises;
  std::vector<std::int32_t> players;

  Roots(Lockstep::Method method, std::int64_t root_num,
        std::vector<std::vector<std::int32_t>> actions)
      : search(method, Checked(root_num, std::move(actions))), id(NextId()) {
    ties = Luck() = Mix(Luck(), kMixSeed);
  }

  static std::vector<std::vector<std::int32_t>> Checked(
      std::int64_t root_num, std::vector<std::vector<std::int32_t>> actions) {
    if (root_num >= 1 && static_cast<std::size_t>(root_num) == actions.size()) return actions;
    throw Error(Fault::kInvalidArgument, "root_num=" + std::to_string(root_num) +
                                             " with legal actions of " +
                                             std::to_string(actions.size()) +
                                             " roots: name those of each root, one at least");
  }
  static std::uint64_t NextId() {
    static std::uint64_t last = 0;
    return ++last;
  }
};

struct MuZeroRoots : Roots {
  MuZeroRoots(std::int64_t num, std::vector<std::vector<std::int32_t>> actions)
      : Roots(Lockstep::Method::kMuZero, num, std::move(actions)) {}
};

struct GumbelRoots : Roots {
  GumbelRoots(std::int64_t num, std::vector<std::vector<std::int32_t>> actions)
      : Roots(Lockstep::Method::kGumbel, num, std::move(actions)) {}
};

// The statistics themselves are the trees'.
struct MinMaxStatsList {
  std::size_t num;
  float delta = 0;
  std::uint64_t roots = 0;  // whose

  void BindTo(const Roots& other) {
    if (num != other.search.size() || (roots != 0 && roots != other.id)) {
      throw Error(Fault::kInvalidArgument,
                  "min_max_stats_lst is of " + std::to_string(num) +
                      (num == other.search.size() ? " other" : "") + " roots, not of these " +
                      std::to_string(other.search.size()) +
                      ": make a MinMaxStatsList for each Roots");
    }
    roots = other.id;
  }
};

struct ResultsWrapper {
  std::size_t num;
  std::uint64_t traversal = 0;
  // kept alive by Python: BackPropagate needs them
  py::object owner{};
  Roots* roots = nullptr;
  std::vector<std::int32_t> depths{};

  Roots& Answered() const {
    if (roots == nullptr || roots->search.traversals() != traversal) {
      throw Error(Fault::kInvalidArgument,
                  "results are not of the last batch_traverse: pass the ResultsWrapper that it "
                  "was given");
    }
    return *roots;
  }
};

void CheckNum(const ResultsWrapper& results, const Roots& roots) {
  if (results.num == roots.search.size()) return;
  throw Error(Fault::kInvalidArgument, "ResultsWrapper(num=" + std::to_string(results.num) +
                                           ") for " + std::to_string(roots.search.size()) +
                                           " roots: both must be the same");
}

py::tuple Answer(const py::object& owner, Roots& roots, ResultsWrapper& results,
                 const py::object& players) {
  const Lockstep::Leaves& leaves = roots.search.leaves();
  results.traversal = roots.search.traversals();
  results.owner = owner;
  results.roots = &roots;
  results.depths = leaves.depth;
  const auto give = py::isinstance<py::array>(players) ? &ToArray : &ToList;
  return py::make_tuple(give(leaves.x), give(leaves.y), give(leaves.action), give(leaves.player));
}

// --- the two calls of each simulation -----------------------------------------------------------
//
// They take more arguments than work where there is one root, so Python hands them over as they are
// (vectorcall): pybind11 would take as long as all the rest.

template <std::size_t kCount>
class Arguments {
 public:
  Arguments(const Signature<kCount>& signature, const CallArguments& call)
      : signature_(signature), values_(signature.Match(call)) {}

  py::handle operator[](std::size_t i) const { return values_[i]; }

  std::int32_t Int(std::size_t i) const {
    int overflow = 0;
    const long value = PyLong_Check(values_[i]) ? PyLong_AsLongAndOverflow(values_[i], &overflow)
                                                : Index(i, overflow);
    if (overflow == 0 && value == static_cast<std::int32_t>(value)) {
      return static_cast<std::int32_t>(value);
    }
    throw Error(Fault::kInvalidArgument,
                std::string(signature_.name(i)) + "=" +
                    py::str(py::handle(values_[i])).template cast<std::string>() +
                    ": must be below 2**31");
  }

  float Float(std::size_t i) const {
    const double value = PyFloat_AsDouble(values_[i]);
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      RefuseType(signature_.name(i), values_[i], "a number");
    }
    return static_cast<float>(value);
  }

  // An object of a class of this file, of which nobody derives.
  template <typename T>
  T& Object(std::size_t i) const {
    static PyObject* const type = py::type::of<T>().release().ptr();
    if (reinterpret_cast<PyObject*>(Py_TYPE(values_[i])) != type) {
      const auto name = py::str(py::handle(type).attr("__name__")).template cast<std::string>();
      RefuseType(signature_.name(i), values_[i], ("a " + name).c_str());
    }
    return *py::handle(values_[i]).cast<T*>();
  }

 private:
  long Index(std::size_t i, int& overflow) const {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(values_[i]));
    if (!index) {
      PyErr_Clear();
      RefuseType(signature_.name(i), values_[i], "an integer");
    }
    return PyLong_AsLongAndOverflow(index.ptr(), &overflow);
  }

  const Signature<kCount>& signature_;
  std::array<PyObject*, kCount> values_;
};

py::object Borrowed(const py::handle& object) {
  return py::reinterpret_borrow<py::object>(object);
}

py::object TraverseMuZero(const CallArguments& call) {
  static const Signature<8> signature(
      "batch_traverse",
      {"roots", "pb_c_base", "pb_c_init", "discount_factor", "min_max_stats_lst", "results",
       "virtual_to_play_batch", "deterministic"},
      7, 8);
  const Arguments arguments(signature, call);
  auto& roots = arguments.Object<MuZeroRoots>(0);
  auto& statistics = arguments.Object<MinMaxStatsList>(4);
  auto& results = arguments.Object<ResultsWrapper>(5);
  const py::object players = Borrowed(arguments[6]);
  const bool is_deterministic =
      arguments[7].ptr() != nullptr && PyObject_IsTrue(arguments[7].ptr()) == 1;
  CheckNum(results, roots);
  statistics.BindTo(roots);
  ReadPlayers(players, roots.players);
  roots.search.Traverse(
      {arguments.Int(1), arguments.Float(2), arguments.Float(3), statistics.delta}, roots.players,
      is_deterministic ? std::nullopt : std::optional(roots.ties));
  return Answer(Borrowed(arguments[0]), roots, results, players);
}

py::object TraverseGumbel(const CallArguments& call) {
  static const Signature<6> signature(
      "batch_traverse",
      {"roots", "num_simulations", "max_num_considered_actions", "discount", "results",
       "virtual_to_play_batch"},
      6, 6);
  const Arguments arguments(signature, call);
  auto& roots = arguments.Object<GumbelRoots>(0);
  auto& results = arguments.Object<ResultsWrapper>(4);
  const py::object players = Borrowed(arguments[5]);
  CheckNum(results, roots);
  ReadPlayers(players, roots.players);
  roots.search.Traverse(arguments.Int(1), arguments.Int(2), arguments.Float(3), roots.players);
  return Answer(Borrowed(arguments[0]), roots, results, players);
}

py::object BackPropagate(const Signature<8>& signature, const CallArguments& call) {
  const Arguments arguments(signature, call);
  Roots& roots = arguments.Object<ResultsWrapper>(6).Answered();
  arguments.Object<MinMaxStatsList>(5).BindTo(roots);
  ReadPlayers(Borrowed(arguments[7]), roots.players);
  roots.search.BackPropagate(arguments.Int(0), arguments.Float(1),
                             roots.rewards.Read(Borrowed(arguments[2]), "value_prefixs"),
                             roots.values.Read(Borrowed(arguments[3]), "values"),
                             roots.logits.Read(Borrowed(arguments[4]), "policies"),
                             roots.players);
  return py::none();
}

py::object BackPropagateMuZero(const CallArguments& call) {
  static const Signature<8> signature(
      "batch_backpropagate",
      {"current_latent_state_index", "discount_factor", "value_prefixs", "values", "policies",
       "min_max_stats_lst", "results", "to_play_batch"},
      8, 8);
  return BackPropagate(signature, call);
}

py::object BackPropagateGumbel(const CallArguments& call) {
  static const Signature<8> signature(
      "batch_back_propagate",
      {"current_latent_state_index", "discount", "value_prefixs", "values", "policies",
       "min_max_stats_lst", "results", "to_play_batch"},
      8, 8);
  return BackPropagate(signature, call);
}

void Prepare(Roots& roots, float weight, const py::object& noises, const py::object& rewards,
             const py::object& values, const py::object& logits, const py::object& players) {
  ReadPlayers(players, roots.players);
  static const Rows kNone;
  const Rows& luck = noises.is_none() ? kNone : roots.noises.Read(noises, "noises");
  const auto root_values = values.is_none() ? std::span<const float>()
                                            : roots.values.Read(values, "value_pool");
  roots.search.Prepare(weight, luck, roots.rewards.Read(rewards, "value_prefix_pool"),
                       root_values, roots.logits.Read(logits, "policy_logits_pool"),
                       roots.players);
}

template <typename Class>
void DefineRoots(Class& roots) {
  using R = typename Class::type;
  roots
      .def(py::init<std::int64_t, std::vector<std::vector<std::int32_t>>>(), "root_num"_a,
           "legal_actions_list"_a)
      .def("get_trajectories", [](const R& r) { return r.search.Trajectories(); },
           "Actions to the leaf of the last traverse, for each root.")
      .def("get_distributions", [](const R& r) { return r.search.Distributions(); },
           "Visits of the legal actions of each root.")
      .def("get_values", [](const R& r) { return r.search.Values(); }, "Mean value of each root.")
      .def("clear", [](R& r) { r.search.Clear(); }, "Drop the trees.")
      .def_property_readonly("num", [](const R& r) { return r.search.size(); }, "Of the roots.");
}

}  // namespace

void BindLightZero(py::module_& m) {
  py::class_<MinMaxStatsList>(m, "MinMaxStatsList")
      .def(py::init([](std::int64_t num) {
             return MinMaxStatsList{static_cast<std::size_t>(std::max<std::int64_t>(num, 0))};
           }),
           "num"_a)
      .def("set_delta",
           [](MinMaxStatsList& list, float delta) {
             if (!(delta >= 0 && std::isfinite(delta))) {
               throw Error(Fault::kInvalidArgument, "value_delta_max=" + std::to_string(delta) +
                                                        ": must be finite and not negative");
             }
             list.delta = delta;
           },
           "value_delta_max"_a, "Set the least width of the scale of values.");
  py::class_<ResultsWrapper>(m, "ResultsWrapper")
      .def(py::init([](std::int64_t num) {
             return ResultsWrapper{static_cast<std::size_t>(std::max<std::int64_t>(num, 0))};
           }),
           "num"_a)
      .def("get_search_len", [](const ResultsWrapper& r) { return r.depths; },
           "Depth of each leaf.");

  py::class_<MuZeroRoots> muzero(m, "MuZeroRoots");
  DefineRoots(muzero);
  muzero
      .def("prepare",
           [](MuZeroRoots& r, float weight, const py::object& noises, const py::object& rewards,
              const py::object& logits, const py::object& players) {
             Prepare(r, weight, noises, rewards, py::none(), logits, players);
           },
           "root_noise_weight"_a, "noises"_a, "value_prefix_pool"_a, "policy_logits_pool"_a,
           "to_play_batch"_a, "Begin the searches, with noise in the priors of the roots.")
      .def("prepare_no_noise",
           [](MuZeroRoots& r, const py::object& rewards, const py::object& logits,
              const py::object& players) {
             Prepare(r, 0, py::none(), rewards, py::none(), logits, players);
           },
           "value_prefix_pool"_a, "policy_logits_pool"_a, "to_play_batch"_a,
           "Begin the searches.");
  py::class_<GumbelRoots> gumbel(m, "GumbelRoots");
  DefineRoots(gumbel);
  gumbel
      .def("prepare",
           [](GumbelRoots& r, float weight, const py::object& noises, const py::object& rewards,
              const py::object& values, const py::object& logits, const py::object& players) {
             Prepare(r, weight, noises, rewards, values, logits, players);
           },
           "root_noise_weight"_a, "noises"_a, "value_prefix_pool"_a, "value_pool"_a,
           "policy_logits_pool"_a, "to_play_batch"_a,
           "Begin the searches, with noise in the priors of the roots.")
      .def("prepare_no_noise",
           [](GumbelRoots& r, const py::object& rewards, const py::object& values,
              const py::object& logits, const py::object& players) {
             Prepare(r, 0, py::none(), rewards, values, logits, players);
           },
           "value_prefix_pool"_a, "value_pool"_a, "policy_logits_pool"_a, "to_play_batch"_a,
           "Begin the searches.")
      .def("get_children_values",
           [](const GumbelRoots& r, float discount, std::size_t num_actions) {
             return r.search.ChildrenValues(discount, num_actions);
           },
           "discount"_a, "action_space_size"_a, "Completed and weighted values of the actions.")
      .def("get_policies",
           [](const GumbelRoots& r, float discount, std::size_t num_actions) {
             return r.search.Policies(discount, num_actions);
           },
           "discount"_a, "action_space_size"_a, "Improved policy of each root.");

  static PyMethodDef methods[] = {
      FastMethod("muzero_batch_traverse", &FastCall<&TraverseMuZero>,
                 "Go from each root to a leaf."),
      FastMethod("gumbel_batch_traverse", &FastCall<&TraverseGumbel>,
                 "Go from each root to a leaf."),
      FastMethod("muzero_batch_backpropagate", &FastCall<&BackPropagateMuZero>,
                 "Expand the leaves and back values up."),
      FastMethod("gumbel_batch_back_propagate", &FastCall<&BackPropagateGumbel>,
                 "Expand the leaves and back values up."),
      {nullptr, nullptr, 0, nullptr}};
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
  m.def("seed_ties", [](std::uint64_t seed) { Luck() = Mix(kMixSeed, seed); }, "seed"_a,
        "Make the luck of the searches to come the same each time.");
}

}  // namespace rts
