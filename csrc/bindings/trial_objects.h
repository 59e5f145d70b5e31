// Searches by asking and telling (trials/search.h) as objects of Python, and what their methods
// share.
//
// A step is one call from Python, and has to cost about as much as the call: the two types and
// their methods are CPython's own, without pybind11's dispatch. Adapters derive from them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trials/search.h"

namespace rts {

struct TrialAlgorithm {
  PyObject_HEAD
  TrialSettings settings;
};

// A search as of a version. Copies share search and lists until one of them goes on from a version
// that is not the last.
struct TrialState {
  PyObject_HEAD
  std::shared_ptr<Search> search;
  Version version;
  PyObject* states;     // list: by node, without the root
  PyObject* actions;    // list of names, by ActionId
  PyObject* algorithm;  // that the search was last gone on with
};

extern PyTypeObject* algorithm_type;
extern PyTypeObject* state_type;
extern PyMethodDef algorithm_methods[];  // trial_algorithm.cc
extern PyMethodDef state_methods[];      // trial_state.cc

// --- errors ----------------------------------------------------------------------------

// Raise an error of rtsearch_fast.errors.
[[noreturn]] void Raise(const char* class_name, const std::string& message);
// For messages.
std::string Repr(PyObject* object);

// Python's error is set unless this holds.
inline void Check(bool ok) {
  if (!ok) throw pybind11::error_already_set();
}

// --- states and algorithms -----------------------------------------------------------------

[[noreturn]] void RefuseState(PyObject* object);

inline TrialState* AsState(PyObject* object) {
  if (Py_TYPE(object)->tp_base != state_type && !PyObject_TypeCheck(object, state_type)) {
    RefuseState(object);
  }
  return reinterpret_cast<TrialState*>(object);
}

// A type of states.
PyTypeObject* AsKind(PyObject* type);

TrialState* NewState(PyTypeObject* kind, std::shared_ptr<Search> search, PyObject* states,
                     PyObject* actions, PyObject* algorithm);

// What the algorithm believes of an action before any trial.
Prior PriorOf(const TrialAlgorithm* algorithm, PyObject* name);
Prior PriorFrom(PyObject* numbers);

// Give `state` a search that goes on from its version by this algorithm.
void TakeOver(TrialAlgorithm* algorithm, TrialState* state);

// Before `state` goes on: is its version the last, and was its search made for this algorithm?
inline void Prepare(TrialAlgorithm* algorithm, TrialState* state) {
  const bool is_last = state->version == state->search->version();
  if (is_last && state->algorithm == reinterpret_cast<PyObject*>(algorithm)) return;
  TakeOver(algorithm, state);
}

// A list of the first items.
pybind11::object Prefix(PyObject* list, std::size_t size);

// Borrowed.
inline PyObject* StateOfNode(const TrialState* state, NodeId node) {
  return node == kRootId ? Py_None : PyList_GET_ITEM(state->states, node - 1);
}

std::uint64_t Entropy();

}  // namespace rts
