// What states tell: their methods, which change nothing.
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <vector>

#include "bindings/fast_call.h"
#include "bindings/trial_objects.h"
#include "trials/thompson.h"

namespace py = pybind11;

namespace rts {
namespace {

// The search as of the state's version, and nothing later; what is derived from trials is there.
Search& Current(TrialState* state) {
  if (state->version != state->search->version()) {
    const auto algorithm = reinterpret_cast<TrialAlgorithm*>(state->algorithm);
    Prepare(algorithm, state);
  }
  return *state->search;
}

PyObject* Pairs(PyObject* self, PyObject*) {
  return Guarded(
      [&] {
        const auto state = reinterpret_cast<TrialState*>(self);
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
        const auto state = reinterpret_cast<TrialState*>(self);
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
        const auto state = reinterpret_cast<TrialState*>(self);
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

NodeId ToNode(const TrialState* state, unsigned int node) {
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
        const auto state = reinterpret_cast<TrialState*>(self);
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
        const auto state = reinterpret_cast<TrialState*>(self);
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
            Current(reinterpret_cast<TrialState*>(self)).ToWords();
        return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(words.data()),
                                         static_cast<Py_ssize_t>(words.size() * 8));
      },
      static_cast<PyObject*>(nullptr));
}

PyObject* AlgorithmOf(PyObject* self, PyObject*) {
  return Py_NewRef(reinterpret_cast<TrialState*>(self)->algorithm);
}

PyObject* ActionsOf(PyObject* self, PyObject*) {
  PyObject* const actions = reinterpret_cast<TrialState*>(self)->actions;
  return PyList_GetSlice(actions, 0, PyList_GET_SIZE(actions));
}

}  // namespace

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

}  // namespace rts
