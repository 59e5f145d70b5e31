// What algorithms do: their methods, of which each is one event of a search, or begins one.
#include <time.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/fast_call.h"
#include "bindings/trial_objects.h"
#include "core/error.h"

namespace py = pybind11;

namespace rts {
namespace {

constexpr const char* kNoActions = "no actions are named: pass at least one";

std::int64_t Now() {
  timespec now;
#ifdef CLOCK_REALTIME_COARSE  // a few milliseconds are nothing beside a model
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
#else
  clock_gettime(CLOCK_REALTIME, &now);
#endif
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

ActionId IdOf(const TrialAlgorithm* algorithm, TrialState* state, std::size_t guess,
              PyObject* name) {
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

void Tell(TrialState* state, TrialId trial, const Result& result) {
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
        reinterpret_cast<TrialAlgorithm*>(self)->settings = settings;
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
        auto search = std::make_shared<Search>(reinterpret_cast<TrialAlgorithm*>(self)->settings,
                                               number, Entropy());
        const py::list states, actions;
        return reinterpret_cast<PyObject*>(
            NewState(AsKind(type), std::move(search), states.ptr(), actions.ptr(), self));
      },
      static_cast<PyObject*>(nullptr));
}

// Not inline, so that a step has little to save.
[[gnu::noinline]] void Withdraw(TrialState* state, TrialId trial) {
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

  Functions(const TrialAlgorithm* algorithm, TrialState* state, PyObject* mapping) {
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
        const auto algorithm = reinterpret_cast<TrialAlgorithm*>(self);
        TrialState* const before = AsState(given[0]);
        Prepare(algorithm, before);
        const Functions functions(algorithm, before, given[1]);
        const TrialId trial = before->search->Ask(functions.ids.view(), 0, Now());
        const auto copy =
            inplace ? py::reinterpret_borrow<py::object>(given[0])
                    : py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(
                          NewState(Py_TYPE(before), before->search, before->states,
                                   before->actions, self)));
        TrialState* const state = reinterpret_cast<TrialState*>(copy.ptr());
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
        const auto algorithm = reinterpret_cast<TrialAlgorithm*>(self);
        TrialState* const state = AsState(state_object);
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
        TrialState* const state = AsState(state_object);
        Prepare(reinterpret_cast<TrialAlgorithm*>(self), state);
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
        const auto algorithm = reinterpret_cast<TrialAlgorithm*>(self);
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

}  // namespace

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

}  // namespace rts
