// The types of searches by asking and telling, and the life of their objects.
#include <new>

#include "bindings/bind.h"
#include "bindings/trial_objects.h"

namespace py = pybind11;

namespace rts {
namespace {

PyObject* NewAlgorithm(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* const self = type->tp_alloc(type, 0);
  if (self != nullptr) new (&reinterpret_cast<TrialAlgorithm*>(self)->settings) TrialSettings();
  return self;
}

void FreeAlgorithm(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// Cycles go through lists, which clear themselves.
int TraverseState(PyObject* self, visitproc visit, void* arg) {
  const auto state = reinterpret_cast<TrialState*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(state->states);
  Py_VISIT(state->actions);
  Py_VISIT(state->algorithm);
  return 0;
}

void FreeState(PyObject* self) {
  const auto state = reinterpret_cast<TrialState*>(self);
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
  algorithm_type = MakeType("rtsearch_fast._core.TrialAlgorithm", sizeof(TrialAlgorithm),
                            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, algorithm_slots);
  PyType_Slot state_slots[] = {
      {Py_tp_doc, const_cast<char*>("A search as of one moment.")},
      {Py_tp_dealloc, Slot(FreeState)},
      {Py_tp_traverse, Slot(TraverseState)},
      {Py_tp_methods, state_methods},
      {0, nullptr}};
  const unsigned int flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
                             Py_TPFLAGS_DISALLOW_INSTANTIATION;
  state_type = MakeType("rtsearch_fast._core.TrialState", sizeof(TrialState), flags, state_slots);
  m.attr("TrialAlgorithm") = py::handle(reinterpret_cast<PyObject*>(algorithm_type));
  m.attr("TrialState") = py::handle(reinterpret_cast<PyObject*>(state_type));
}

}  // namespace rts
