#include "bindings/trial_objects.h"

#include <cstring>
#include <new>
#include <utility>

namespace py = pybind11;

namespace rts {
namespace {

void Replace(PyObject*& field, PyObject* value) {
  PyObject* const old = field;
  field = value;
  Py_XDECREF(old);
}

// Give `state` a search of its own as of its version.
void Fork(const TrialAlgorithm* algorithm, TrialState* state, std::vector<Prior> priors) {
  Search& old = *state->search;
  py::object states = Prefix(state->states, old.NumNodes(state->version));
  py::object actions = Prefix(state->actions, priors.size());
  Check(states && actions);
  state->search = old.Fork(state->version, algorithm->settings, std::move(priors), Entropy());
  Replace(state->states, states.release().ptr());
  Replace(state->actions, actions.release().ptr());
}

}  // namespace

PyTypeObject* algorithm_type = nullptr;
PyTypeObject* state_type = nullptr;

void Raise(const char* class_name, const std::string& message) {
  const py::object type = py::module_::import("rtsearch_fast.errors").attr(class_name);
  PyErr_SetString(type.ptr(), message.c_str());
  throw py::error_already_set();
}

std::string Repr(PyObject* object) {
  return py::repr(py::handle(object)).cast<std::string>();
}

PyTypeObject* AsKind(PyObject* type) {
  const auto kind = reinterpret_cast<PyTypeObject*>(type);
  if (PyType_IsSubtype(kind, state_type) == 0) {
    throw py::type_error("kind " + Repr(type) + " is no TrialState");
  }
  return kind;
}

void RefuseState(PyObject* object) {
  throw py::type_error("state is a " + std::string(Py_TYPE(object)->tp_name) +
                       ": pass what init_tree, step, ask or tell of this adapter returned");
}

std::uint64_t Entropy() {
  const py::object bytes = py::module_::import("os").attr("urandom")(8);
  std::uint64_t number = 0;
  std::memcpy(&number, PyBytes_AS_STRING(bytes.ptr()), sizeof(number));
  return number;
}

TrialState* NewState(PyTypeObject* kind, std::shared_ptr<Search> search, PyObject* states,
                     PyObject* actions, PyObject* algorithm) {
  const auto state = reinterpret_cast<TrialState*>(kind->tp_alloc(kind, 0));
  Check(state != nullptr);
  new (&state->search) std::shared_ptr<Search>(std::move(search));
  state->version = state->search->version();
  state->states = Py_NewRef(states);
  state->actions = Py_NewRef(actions);
  state->algorithm = Py_NewRef(algorithm);
  return state;
}

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

Prior PriorOf(const TrialAlgorithm* algorithm, PyObject* name) {
  if (algorithm->settings.rule != TrialRule::kThompson) return {};
  const auto self = reinterpret_cast<PyObject*>(const_cast<TrialAlgorithm*>(algorithm));
  const py::object numbers = py::handle(self).attr("prior_of")(py::handle(name));
  return PriorFrom(numbers.ptr());
}

py::object Prefix(PyObject* list, std::size_t size) {
  return py::reinterpret_steal<py::object>(
      PyList_GetSlice(list, 0, static_cast<Py_ssize_t>(size)));
}

void TakeOver(TrialAlgorithm* algorithm, TrialState* state) {
  const auto self = reinterpret_cast<PyObject*>(algorithm);
  const bool is_last = state->version == state->search->version();
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

}  // namespace rts
