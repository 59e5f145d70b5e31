// Searches by asking and telling (trials/search.h), with the states of nodes, which are Python's.
//
// A step is one call from Python, and has to cost about as much as the call: these two types and their
// methods are CPython's own, without pybind11's dispatch. Adapters derive from them.
#include <pybind11/stl.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/bind.h"
#include "bindings/fast_call.h"
#include "core/error.h"
#include "trials/search.h"
#include "trials/thompson.h"

namespace py = pybind11;

namespace rts {
namespace {

struct Algorithm {
  PyObject_HEAD
  TrialSettings settings;
};

// A search as of a version. Copies share search and lists until one of them goes on from a version
// that is not the last.
struct State {
  PyObject_HEAD
  std::shared_ptr<Search> search;
  Version version;
  PyObject* states;     // list: by node, without the root
  PyObject* actions;    // list of names, by ActionId
  PyObject* algorithm;  // that the search was last gone on with
};

constexpr const char* kNoActions = "no actions are named: pass at least one";

PyTypeObject* algorithm_type = nullptr;
PyTypeObject* state_type = nullptr;

// --- errors --------------------------------------------------------------------------

// Py_TYPE's name and so on are for messages, which are rare.
[[noreturn]] void Raise(const char* class_name, const std::string& message) {
  const py::object type = py::module_::import("rtsearch_fast.errors").attr(class_name);
  PyErr_SetString(type.ptr(), message.c_str());
  throw py::error_already_set();
}

std::string Repr(PyObject* object) {
  return py::repr(py::handle(object)).cast<std::string>();
}

void Check(bool ok) {
  if (!ok) throw py::error_already_set();
}

State* AsState(PyObject* object) {
  if (Py_TYPE(object)->tp_base != state_type && !PyObject_TypeCheck(object, state_type)) {
    throw py::type_error("state is a " + std::string(Py_TYPE(object)->tp_name) +
                         ": pass what init_tree, step, ask or tell of this adapter returned");
  }
  return reinterpret_cast<State*>(object);
}

PyTypeObject* AsKind(PyObject* type) {
  const auto kind = reinterpret_cast<PyTypeObject*>(type);
  if (PyType_IsSubtype(kind, state_type) == 0) {
    throw py::type_error("kind " + Repr(type) + " is no TrialState");
  }
  return kind;
}

// --- actions ---------------------------------------------------------------------------

Prior PriorFrom(PyObject* numbers) {
  Prior prior;
  const char* kind = nullptr;
  double p[4];
  if (!PyTuple_Check(numbers)) {
    throw py::type_error("the prior " + Repr(numbers) + " is no tuple of a kind and four numbers");
  }
  Check(PyArg_ParseTuple(numbers, "sdddd", &kind, &p[0], &p[1], &p[2], &p[3]) != 0);
  prior.is_beta = std::string(kind) == "beta";
  if (prior.is_beta) {
    prior.a = p[0];
    prior.b = p[1];
  } else {
    prior.m = p[0];
    prior.kappa = p[1];
    prior.nu = p[2];
    prior.tau_square = p[3];
  }
  ValidatePrior(prior);
  return prior;
}

// What the algorithm believes of an action before any trial.
Prior PriorOf(const Algorithm* algorithm, PyObject* name) {
  if (algorithm->settings.rule != TrialRule::kThompson) return {};
  const auto self = reinterpret_cast<PyObject*>(const_cast<Algorithm*>(algorithm));
  const py::object numbers = py::handle(self).attr("prior_of")(py::handle(name));
  return PriorFrom(numbers.ptr());
}

ActionId IdOf(const Algorithm* algorithm, State* state, std::size_t guess, PyObject* name) {
  PyObject* const names = state->actions;
  const auto size = static_cast<std::size_t>(PyList_GET_SIZE(names));
  const auto item = [&](std::size_t i) {
    return PyList_GET_ITEM(names, static_cast<Py_ssize_t>(i));
  };
  if (guess < size && item(guess) == name) return static_cast<ActionId>(guess);
  if (!PyUnicode_Check(name)) {
    throw py::type_error("action " + Repr(name) + " is a " + Py_TYPE(name)->tp_name +
                         ": name actions by strings");
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (PyUnicode_Compare(item(i), name) == 0) return static_cast<ActionId>(i);
  }
  const Prior prior = PriorOf(algorithm, name);
  Check(PyList_Append(names, name) == 0);
  state->search->AddAction(prior);
  return static_cast<ActionId>(size);
}

// --- states ----------------------------------------------------------------------------

std::int64_t Now() {
  timespec now;
#ifdef CLOCK_REALTIME_COARSE  // a few milliseconds are nothing beside a model
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
  clock_gettime(CLOCK_REALTIME, &now);
#endif
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint64_t Entropy() {
  const py::object bytes = py::module_::import("os").attr("urandom")(8);
  std::uint64_t number = 0;
  std::memcpy(&number, PyBytes_AS_STRING(bytes.ptr()), sizeof(number));
  return number;
}

State* NewState(PyTypeObject* type, std::shared_ptr<Search> search, PyObject* states,
                PyObject* actions, PyObject* algorithm) {
  const auto state = reinterpret_cast<State*>(type->tp_alloc(type, 0));
  Check(state != nullptr);
  new (&state->search) std::shared_ptr<Search>(std::move(search));
  state->version = state->search->version();
  state->states = Py_NewRef(states);
  state->actions = Py_NewRef(actions);
  state->algorithm = Py_NewRef(algorithm);
  return state;
}

void Replace(PyObject*& field, PyObject* value) {
  PyObject* const old = field;
  field = value;
  Py_XDECREF(old);
}

py::object Prefix(PyObject* list, std::size_t size) {
  return py::reinterpret_steal<py::object>(
      PyList_GetSlice(list, 0, static_cast<Py_ssize_t>(size)));
}

// Give `state` a search of its own as of its version.
void Fork(const Algorithm* algorithm, State* state, std::vector<Prior> priors) {
  Search& old = *state->search;
  py::object states = Prefix(state->states, old.NumNodes(state->version));
  py::object actions = Prefix(state->actions, priors.size());
  Check(states && actions);
  state->search = old.Fork(state->version, algorithm->settings, std::move(priors), Entropy());
  Replace(state->states, states.release().ptr());
  Replace(state->actions, actions.release().ptr());
}

// Before `state` goes on: is its version the last, and was its search made for this algorithm?
void Prepare(Algorithm* algorithm, State* state) {
  const auto self = reinterpret_cast<PyObject*>(algorithm);
  const bool is_last = state->version == state->search->version();
  if (is_last && state->algorithm == self) return;
  const TrialSettings& settings = state->search->settings();
  if (settings.rule != algorithm->settings.rule) {
    throw py::type_error("the state was made by another algorithm than " + Repr(self) +
                         ": go on with that one, or begin with init_tree");
  }
  std::vector<Prior> priors;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(state->actions); ++i) {
    priors.push_back(PriorOf(algorithm, PyList_GET_ITEM(state->actions, i)));
  }
  if (!is_last || settings != algorithm->settings || !state->search->HasPriors(priors)) {
    Fork(algorithm, state, std::move(priors));
  }
  Replace(state->algorithm, Py_NewRef(self));
}

PyObject* StateOfNode(const State* state, NodeId node) {
  return node == kRootId ? Py_None : PyList_GET_ITEM(state->states, node - 1);
}

// A node's state and score, as generate_fn returned them; new references.
struct Result {
  py::object state;
  double score;
};

Result AsResult(PyObject* object) {
  PyObject* const* items = nullptr;
  py::object sequence;
  if (PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) == 2) {
    items = &PyTuple_GET_ITEM(object, 0);
  } else {
    sequence = py::reinterpret_steal<py::object>(PySequence_Fast(object, ""));
    if (!sequence || PySequence_Fast_GET_SIZE(sequence.ptr()) != 2) {
      PyErr_Clear();
      throw py::type_error("the result is " + Repr(object) + ": return (state, score)");
    }
    items = PySequence_Fast_ITEMS(sequence.ptr());
  }
  PyObject* const number = items[1];
  double score = 0;
  if (PyFloat_CheckExact(number)) {
    score = PyFloat_AS_DOUBLE(number);
  } else {
    score = PyFloat_AsDouble(number);
    if (score == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      throw py::type_error("the score " + Repr(number) + " is a " + Py_TYPE(number)->tp_name +
                           ": return a number in [0, 1]");
    }
  }
  if (!(score >= 0 && score <= 1)) {
    Raise("ScoreRangeError", "the score " + Repr(number) +
                                 " is outside [0, 1]: scale what your model gives");
  }
  if (items[0] == Py_None) {
    Raise("ScoreRangeError", "the state of a node is None, which stands for the root: return "
                             "another");
  }
  return {py::reinterpret_borrow<py::object>(items[0]), score};
}

void Tell(State* state, TrialId trial, const Result& result) {
  Check(PyList_Append(state->states, result.state.ptr()) == 0);
  try {
    state->search->Tell(trial, result.score, Now());
  } catch (...) {
    const Py_ssize_t size = PyList_GET_SIZE(state->states);
    PyList_SetSlice(state->states, size - 1, size, nullptr);
    throw;
  }
  state->version = state->search->version();
}

// --- methods of algorithms -----------------------------------------------------------------

PyObject* NewAlgorithm(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* const self = type->tp_alloc(type, 0);
  if (self != nullptr) new (&reinterpret_cast<Algorithm*>(self)->settings) TrialSettings();
  return self;
}

PyObject* Configure(PyObject* self, PyObject* args) {
  const char* rule = nullptr;
  const char* choice = nullptr;
  long long samples = 0;
  int distinct = 0;
  int compensated = 0;
  PyObject* prior = nullptr;
  TrialSettings settings;
  if (!PyArg_ParseTuple(args, "sLdppsO", &rule, &samples, &settings.exploration, &distinct,
                        &compensated, &choice, &prior)) {
    return nullptr;
  }
  return Guarded(
      [&] {
        const std::string rule_name(rule);
        const std::string choice_name(choice);
        settings.rule = rule_name == "softmax" ? TrialRule::kSoftmax
                        : rule_name == "mcts_g" ? TrialRule::kMctsG
                                                : TrialRule::kThompson;
        settings.choice = choice_name == "stack" ? ActionChoice::kStack
                          : choice_name == "ucb" ? ActionChoice::kUcb
                                                 : ActionChoice::kThompson;
        if (samples < 1 || samples > 0xFFFF) {
          throw Error(Fault::kInvalidArgument, "samples_per_action=" + std::to_string(samples) +
                                                   ": must be in [1, 65535]");
        }
        settings.samples = static_cast<std::uint32_t>(samples);
        settings.distinct = distinct != 0;
        settings.compensated = compensated != 0;
        settings.prior = PriorFrom(prior);
        settings.Validate();
        reinterpret_cast<Algorithm*>(self)->settings = settings;
        Py_RETURN_NONE;
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* Begin(PyObject* self, PyObject* args) {
  PyObject* type = nullptr;
  PyObject* seed = nullptr;
  if (!PyArg_ParseTuple(args, "O!O", &PyType_Type, &type, &seed)) return nullptr;
  return Guarded(
      [&] {
        const std::uint64_t number =
            seed == Py_None ? Entropy() : PyLong_AsUnsignedLongLongMask(seed);
        Check(PyErr_Occurred() == nullptr);
        auto search = std::make_shared<Search>(reinterpret_cast<Algorithm*>(self)->settings,
                                               number, Entropy());
        const py::list states, actions;
        return reinterpret_cast<PyObject*>(
            NewState(AsKind(type), std::move(search), states.ptr(), actions.ptr(), self));
      },
      static_cast<PyObject*>(nullptr));
}

// Not inline, so that a step has little to save.
[[gnu::noinline]] void Withdraw(State* state, TrialId trial) {
  Search& search = *state->search;
  const bool nothing_since = search.version() == state->version &&
                             search.NumTrials(state->version) == trial + 1 &&
                             search.TrialAt(trial, state->version).asked_at == state->version;
  if (!nothing_since) return;
  search.Withdraw(trial);
  state->version = search.version();
}

// A list that takes no memory while it is short.
class ActionIds {
 public:
  void push_back(ActionId id) {
    if (size_ < few_.size()) {
      few_[size_] = id;
    } else {
      if (size_ == few_.size()) many_.assign(few_.begin(), few_.end());
      many_.push_back(id);
    }
    ++size_;
  }
  std::size_t size() const { return size_; }
  std::span<const ActionId> view() const {
    return size_ <= few_.size() ? std::span(few_).first(size_) : std::span<const ActionId>(many_);
  }

 private:
  std::array<ActionId, 8> few_;
  std::vector<ActionId> many_;
  std::size_t size_ = 0;
};

// What a step asks among: the names of the functions, and the functions where they come along.
struct Functions {
  ActionIds ids;
  std::array<PyObject*, 8> few;

  Functions(const Algorithm* algorithm, State* state, PyObject* mapping) {
    if (PyDict_CheckExact(mapping)) {
      Py_ssize_t position = 0;
      PyObject* name = nullptr;
      PyObject* function = nullptr;
      while (PyDict_Next(mapping, &position, &name, &function)) {
        if (ids.size() < few.size()) few[ids.size()] = function;
        ids.push_back(IdOf(algorithm, state, ids.size(), name));
      }
    } else {
      const auto names = py::reinterpret_steal<py::object>(PyMapping_Keys(mapping));
      if (!names && PyErr_ExceptionMatches(PyExc_AttributeError) != 0) {
        PyErr_Clear();
        throw py::type_error("generate_fn is a " + std::string(Py_TYPE(mapping)->tp_name) +
                             ": pass a dict of a function for each action");
      }
      Check(static_cast<bool>(names));
      for (const py::handle name : names) {
        ids.push_back(IdOf(algorithm, state, ids.size(), name.ptr()));
      }
    }
    if (ids.size() == 0) Raise("InvalidArgumentError", kNoActions);
  }

  // The one that makes a child by this action.
  py::object Of(ActionId action, PyObject* mapping, PyObject* name) const {
    const std::span<const ActionId> all = ids.view();
    if (PyDict_CheckExact(mapping) && all.size() <= few.size()) {
      const auto place = static_cast<std::size_t>(std::ranges::find(all, action) - all.begin());
      if (place < all.size()) return py::reinterpret_borrow<py::object>(few[place]);
    }
    const auto found = py::reinterpret_steal<py::object>(PyObject_GetItem(mapping, name));
    if (found) return found;
    PyErr_Clear();
    Raise("InvalidArgumentError", "generate_fn has no action " + Repr(name) +
                                      ", of which the leaf that is being expanded wants a child: "
                                      "keep the actions until it has all");
  }
};

PyObject* Step(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* kwnames) {
  return Guarded(
      [&] {
        static const Signature<3> signature("step", {"state", "generate_fn", "inplace"}, 2, 3);
        const auto given = signature.Match({args, static_cast<std::size_t>(nargs), kwnames});
        const int inplace = given[2] == nullptr   ? 0
                            : given[2] == Py_True ? 1
                                                  : PyObject_IsTrue(given[2]);
        Check(inplace >= 0);
        const auto algorithm = reinterpret_cast<Algorithm*>(self);
        State* const before = AsState(given[0]);
        Prepare(algorithm, before);
        const Functions functions(algorithm, before, given[1]);
        const TrialId trial = before->search->Ask(functions.ids.view(), 0, Now());
        const auto copy =
            inplace ? py::reinterpret_borrow<py::object>(given[0])
                    : py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(
                          NewState(Py_TYPE(before), before->search, before->states,
                                   before->actions, self)));
        State* const state = reinterpret_cast<State*>(copy.ptr());
        state->version = state->search->version();
        try {
          const Request request = state->search->RequestOf(trial);
          const py::object function = functions.Of(
              request.action, given[1], PyList_GET_ITEM(state->actions, request.action));
          const auto result = py::reinterpret_steal<py::object>(
              PyObject_CallOneArg(function.ptr(), StateOfNode(state, request.node)));
          Check(static_cast<bool>(result));
          const Result told = AsResult(result.ptr());
          Prepare(algorithm, state);  // generate_fn may have gone on with it
          Tell(state, trial, told);
        } catch (...) {
          Withdraw(state, trial);
          throw;
        }
        return py::object(copy).release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* AskTrials(PyObject* self, PyObject* args) {
  PyObject* state_object = nullptr;
  PyObject* names = nullptr;
  Py_ssize_t batch_size = 0;
  if (!PyArg_ParseTuple(args, "OnO", &state_object, &batch_size, &names)) return nullptr;
  return Guarded(
      [&] {
        const auto algorithm = reinterpret_cast<Algorithm*>(self);
        State* const state = AsState(state_object);
        Prepare(algorithm, state);
        ActionIds ids;
        for (const py::handle name : py::handle(names)) {
          ids.push_back(IdOf(algorithm, state, ids.size(), name.ptr()));
        }
        if (ids.size() == 0) Raise("InvalidArgumentError", kNoActions);
        py::list trials;
        for (Py_ssize_t i = 0; i < batch_size; ++i) {
          trials.append(state->search->Ask(ids.view(), static_cast<std::size_t>(i), Now()));
          state->version = state->search->version();
        }
        return trials.release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* TellTrial(PyObject* self, PyObject* args) {
  PyObject* state_object = nullptr;
  PyObject* result = nullptr;
  unsigned int trial = 0;
  if (!PyArg_ParseTuple(args, "OIO", &state_object, &trial, &result)) return nullptr;
  return Guarded(
      [&] {
        State* const state = AsState(state_object);
        Prepare(reinterpret_cast<Algorithm*>(self), state);
        if (trial >= state->search->NumTrials(state->version)) {
          Raise("UnknownTrialError", "trial " + std::to_string(trial) + " is not of this search");
        }
        const Result told = AsResult(result);
        Tell(state, trial, told);
        Py_RETURN_NONE;
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* Resume(PyObject* self, PyObject* args) {
  PyObject* type = nullptr;
  PyObject* data = nullptr;
  PyObject* states = nullptr;
  PyObject* actions = nullptr;
  if (!PyArg_ParseTuple(args, "O!SO!O!", &PyType_Type, &type, &data, &PyList_Type, &states,
                        &PyList_Type, &actions)) {
    return nullptr;
  }
  return Guarded(
      [&] {
        const auto algorithm = reinterpret_cast<Algorithm*>(self);
        std::vector<Prior> priors;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(actions); ++i) {
          priors.push_back(PriorOf(algorithm, PyList_GET_ITEM(actions, i)));
        }
        std::vector<std::uint64_t> words(static_cast<std::size_t>(PyBytes_GET_SIZE(data)) / 8);
        std::memcpy(words.data(), PyBytes_AS_STRING(data), words.size() * 8);
        std::shared_ptr<Search> search =
            Search::FromWords(words, algorithm->settings, std::move(priors), Entropy());
        const auto nodes = search->NumNodes(search->version());
        if (nodes != static_cast<std::size_t>(PyList_GET_SIZE(states))) {
          throw Error(Fault::kCorruptData, "the saved search has " + std::to_string(nodes) +
                                               " nodes, but " +
                                               std::to_string(PyList_GET_SIZE(states)) +
                                               " states came with it");
        }
        return reinterpret_cast<PyObject*>(
            NewState(AsKind(type), std::move(search), states, actions, self));
      },
      static_cast<PyObject*>(nullptr));
}

PyMethodDef algorithm_methods[] = {
    {"configure", Configure, METH_VARARGS,
     "configure(self, rule: str, samples: int, exploration: float, distinct: bool, "
     "compensated: bool, choice: str, prior: tuple) -> None\nSet this up, once."},
    {"begin", Begin, METH_VARARGS,
     "begin(self, kind: type, seed: int) -> TrialState\nA state of this kind, a root alone."},
    FastMethod("step", &Step,
     "step(self, state: TrialState, generate_fn: dict, inplace: bool = False) -> TrialState\n"
     "Add one node: ask, call the function of the action, tell."),
    {"ask_trials", AskTrials, METH_VARARGS,
     "ask_trials(self, state: TrialState, batch_size: int, actions: list) -> list\n"
     "Hand out trials; their numbers."},
    {"tell_trial", TellTrial, METH_VARARGS,
     "tell_trial(self, state: TrialState, trial: int, result: tuple) -> None\n"
     "Add the node that a running trial became."},
    {"resume", Resume, METH_VARARGS,
     "resume(self, kind: type, data: bytes, states: list, actions: list) -> TrialState\n"
     "A state from what to_bytes returned."},
    {nullptr, nullptr, 0, nullptr}};

// --- methods of states -----------------------------------------------------------------------

// The search as of the state's version, and nothing later; what is derived from trials is there.
Search& Current(State* state) {
  if (state->version != state->search->version()) {
    const auto algorithm = reinterpret_cast<Algorithm*>(state->algorithm);
    Prepare(algorithm, state);
  }
  return *state->search;
}

PyObject* Pairs(PyObject* self, PyObject*) {
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<State*>(self);
        const auto size = static_cast<NodeId>(state->search->NumNodes(state->version));
        py::list pairs(size);
        for (NodeId node = 1; node <= size; ++node) {
          const double score = state->search->ScoreOfNode(node);
          PyObject* const pair = Py_BuildValue("(Od)", StateOfNode(state, node), score);
          Check(pair != nullptr);
          PyList_SET_ITEM(pairs.ptr(), node - 1, pair);
        }
        return pairs.release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* Nodes(PyObject* self, PyObject*) {
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<State*>(self);
        const auto size = static_cast<NodeId>(state->search->NumNodes(state->version));
        py::list trials(size);
        for (NodeId node = 1; node <= size; ++node) {
          trials[node - 1] = state->search->TrialOfNode(node);
        }
        return py::make_tuple(Prefix(state->states, size), trials).release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* Trials(PyObject* self, PyObject* args) {
  unsigned int first = 0;
  unsigned int end = 0;
  if (!PyArg_ParseTuple(args, "II", &first, &end)) return nullptr;
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<State*>(self);
        const Search& search = *state->search;
        py::list trials;
        const auto size = static_cast<TrialId>(search.NumTrials(state->version));
        for (TrialId id = first; id < std::min(end, size); ++id) {
          const Trial trial = search.TrialAt(id, state->version);
          const py::handle name = PyList_GET_ITEM(state->actions, trial.request.action);
          trials.append(py::make_tuple(
              id, trial.request.node, py::handle(StateOfNode(state, trial.request.node)), name,
              static_cast<int>(trial.status), trial.score, trial.created, trial.completed,
              trial.salt));
        }
        return trials.release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

NodeId ToNode(const State* state, unsigned int node) {
  if (node > state->search->NumNodes(state->version)) {
    Raise("UnknownNodeError", "node " + std::to_string(node) + " is not in this tree");
  }
  return node;
}

PyObject* CountOf(PyObject* self, PyObject* args) {
  unsigned int node = 0;
  if (!PyArg_ParseTuple(args, "I", &node)) return nullptr;
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<State*>(self);
        const auto count = Current(state).CountOf(ToNode(state, node));
        if (!count) Py_RETURN_NONE;
        return Py_BuildValue("(Idd)", count->visits, count->value_sum, count->prior);
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* Beliefs(PyObject* self, PyObject* args) {
  unsigned int node = 0;
  if (!PyArg_ParseTuple(args, "I", &node)) return nullptr;
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<State*>(self);
        const Search& search = Current(state);
        const auto chooser = dynamic_cast<const Thompson*>(&search.chooser());
        if (chooser == nullptr) Py_RETURN_NONE;
        const Prior& prior = search.settings().prior;
        const Thompson::Node& at = chooser->node(ToNode(state, node));
        py::list arms, children;
        for (ActionId action = 0; action < at.arms.size(); ++action) {
          const Thompson::Arm& arm = at.arms[action];
          arms.append(py::make_tuple(arm.gen.Posterior(prior), arm.cont.Posterior(prior),
                                     arm.action.Posterior(chooser->PriorOf(action))));
        }
        for (const NodeId child : at.children) {
          children.append(py::make_tuple(child, chooser->node(child).own.Posterior(prior)));
        }
        return py::make_tuple(arms, children).release().ptr();
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* ToBytes(PyObject* self, PyObject*) {
  return Guarded(
      [&] {
        const std::vector<std::uint64_t> words =
            Current(reinterpret_cast<State*>(self)).ToWords();
        return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(words.data()),
                                         static_cast<Py_ssize_t>(words.size() * 8));
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* AlgorithmOf(PyObject* self, PyObject*) {
  return Py_NewRef(reinterpret_cast<State*>(self)->algorithm);
}

PyObject* ActionsOf(PyObject* self, PyObject*) {
  PyObject* const actions = reinterpret_cast<State*>(self)->actions;
  return PyList_GetSlice(actions, 0, PyList_GET_SIZE(actions));
}

PyMethodDef state_methods[] = {
    {"algorithm", AlgorithmOf, METH_NOARGS,
     "algorithm(self) -> TrialAlgorithm\nThat the search was last gone on with."},
    {"actions", ActionsOf, METH_NOARGS,
     "actions(self) -> list\nNames of actions, in the order first seen."},
    {"pairs", Pairs, METH_NOARGS,
     "pairs(self) -> list\n(state, score) of each node but the root, in the order told."},
    {"nodes", Nodes, METH_NOARGS,
     "nodes(self) -> tuple\nStates and trials of all nodes but the root."},
    {"trials", Trials, METH_VARARGS,
     "trials(self, first: int, end: int) -> list\n(number, node, its state, action, status, score, "
     "created, completed, salt) of the trials of these numbers."},
    {"count", CountOf, METH_VARARGS,
     "count(self, node: int) -> tuple\nVisits, sum of scores and prior; None for AB-MCTS-A."},
    {"beliefs", Beliefs, METH_VARARGS,
     "beliefs(self, node: int) -> tuple\n(GEN, CONT, action) of each arm, and (node, belief) of each "
     "child; None for others than AB-MCTS-A."},
    {"to_bytes", ToBytes, METH_NOARGS, "to_bytes(self) -> bytes\nAll but the nodes' states."},
    {nullptr, nullptr, 0, nullptr}};

// --- types -------------------------------------------------------------------------------

void FreeAlgorithm(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// Cycles go through lists, which clear themselves.
int TraverseState(PyObject* self, visitproc visit, void* arg) {
  const auto state = reinterpret_cast<State*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(state->states);
  Py_VISIT(state->actions);
  Py_VISIT(state->algorithm);
  return 0;
}

void FreeState(PyObject* self) {
  const auto state = reinterpret_cast<State*>(self);
  PyTypeObject* const type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  Py_XDECREF(state->states);
  Py_XDECREF(state->actions);
  Py_XDECREF(state->algorithm);
  state->search.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

template <typename F>
void* Slot(F* function) {
  return reinterpret_cast<void*>(function);
}

PyTypeObject* MakeType(const char* name, int size, unsigned int flags, PyType_Slot* slots) {
  PyType_Spec spec{name, size, 0, flags, slots};
  const auto type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  Check(type != nullptr);
  return type;
}

}  // namespace

void BindTrials(py::module_& m) {
  PyType_Slot algorithm_slots[] = {
      {Py_tp_doc, const_cast<char*>("What an algorithm that asks and tells is made of.")},
      {Py_tp_new, Slot(NewAlgorithm)},
      {Py_tp_dealloc, Slot(FreeAlgorithm)},
      {Py_tp_methods, algorithm_methods},
      {0, nullptr}};
  algorithm_type = MakeType("rtsearch_fast._core.TrialAlgorithm", sizeof(Algorithm),
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, algorithm_slots);
  PyType_Slot state_slots[] = {
      {Py_tp_doc, const_cast<char*>("A search as of one moment.")},
      {Py_tp_dealloc, Slot(FreeState)},
      {Py_tp_traverse, Slot(TraverseState)},
      {Py_tp_methods, state_methods},
      {0, nullptr}};
  const unsigned int flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
                             Py_TPFLAGS_DISALLOW_INSTANTIATION;
  state_type = MakeType("rtsearch_fast._core.TrialState", sizeof(State), flags, state_slots);
  m.attr("TrialAlgorithm") = py::handle(reinterpret_cast<PyObject*>(algorithm_type));
  m.attr("TrialState") = py::handle(reinterpret_cast<PyObject*>(state_type));
}

}  // namespace rts
