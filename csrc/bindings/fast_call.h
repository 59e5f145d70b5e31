// Methods that are called as fast as Python's own: pybind11 takes longer to look at a call than the
// core to answer it, where a search goes one by one.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <string>

namespace rts {

// The arguments of one call, borrowed from the caller.
struct CallArguments {
  PyObject* const* values;
  std::size_t positional;
  PyObject* names;  // of the values after those, a tuple; may be null
};

// What a method takes: the first `required` of `names` must be given, the first `positional` may be
// given by position.
template <std::size_t N>
class Signature {
 public:
  Signature(const char* method, std::array<const char*, N> names, std::size_t required,
            std::size_t positional)
      : method_(method), required_(required), positional_(positional) {
    for (std::size_t i = 0; i < N; ++i) {
      texts_[i] = names[i];
      names_[i] = PyUnicode_InternFromString(names[i]);  // for the life of the module
      if (names_[i] == nullptr) throw pybind11::error_already_set();
    }
  }

  // In the order of the names; null where nothing was given. The errors are those of Python.
  std::array<PyObject*, N> Match(const CallArguments& call) const {
    if (call.positional > positional_) {
      Refuse("takes at most " + std::to_string(positional_) + " positional arguments (" +
             std::to_string(call.positional) + " given)");
    }
    std::array<PyObject*, N> found{};
    for (std::size_t i = 0; i < call.positional; ++i) found[i] = call.values[i];
    const Py_ssize_t named = call.names == nullptr ? 0 : PyTuple_GET_SIZE(call.names);
    for (Py_ssize_t i = 0; i < named; ++i) {
      PyObject* const name = PyTuple_GET_ITEM(call.names, i);
      const std::size_t place = PlaceOf(name);
      if (place == N) Refuse("got an unexpected keyword argument '" + Text(name) + "'");
      if (found[place] != nullptr) Refuse("got multiple values for argument '" + Text(name) + "'");
      found[place] = call.values[call.positional + static_cast<std::size_t>(i)];
    }
    for (std::size_t i = 0; i < required_; ++i) {
      if (found[i] == nullptr) Refuse("missing required argument '" + Text(names_[i]) + "'");
    }
    return found;
  }

  const char* name(std::size_t i) const { return texts_[i]; }

 private:
  std::size_t PlaceOf(PyObject* name) const {
    for (std::size_t i = 0; i < N; ++i) {
      if (names_[i] == name) return i;
    }
    // names that were made at run time are not the same objects
    for (std::size_t i = 0; i < N; ++i) {
      if (PyUnicode_Compare(names_[i], name) == 0) return i;
    }
    return N;
  }
  static std::string Text(PyObject* name) {
    return pybind11::reinterpret_borrow<pybind11::str>(name);
  }
  [[noreturn]] void Refuse(const std::string& why) const {
    throw pybind11::type_error(std::string(method_) + "() " + why);
  }

  const char* method_;
  std::array<const char*, N> texts_{};
  std::array<PyObject*, N> names_{};
  std::size_t required_;
  std::size_t positional_;
};

// The C++ object behind `self`, which is an instance of its class or of a class derived from it.
template <typename T>
T& Self(PyObject* self) {
  auto* const instance = reinterpret_cast<pybind11::detail::instance*>(self);
  if (!instance->simple_layout) return pybind11::handle(self).cast<T&>();  // several bases
  void* const object = instance->simple_value_holder[0];
  if (object == nullptr) {
    throw pybind11::type_error(std::string(Py_TYPE(self)->tp_name) + ".__init__ was not called");
  }
  return *static_cast<T*>(object);
}

// Run f; what it throws is raised in Python, and `failed` returned.
template <typename F, typename T>
T Guarded(const F& f, T failed) {
  try {
    return f();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (...) {
    pybind11::detail::try_translate_exceptions();
  }
  return failed;
}

// As PyMethodDef wants them. Of a class: kMethod(T&, const CallArguments&) -> pybind11::object.
template <typename T, auto kMethod>
PyObject* FastCall(PyObject* self, PyObject* const* values, Py_ssize_t positional,
                   PyObject* names) {
  const CallArguments call{values, static_cast<std::size_t>(positional), names};
  return Guarded([&] { return kMethod(Self<T>(self), call).release().ptr(); },
                 static_cast<PyObject*>(nullptr));
}

// Of a module: kFunction(const CallArguments&) -> pybind11::object.
template <auto kFunction>
PyObject* FastCall(PyObject*, PyObject* const* values, Py_ssize_t positional, PyObject* names) {
  const CallArguments call{values, static_cast<std::size_t>(positional), names};
  return Guarded([&] { return kFunction(call).release().ptr(); }, static_cast<PyObject*>(nullptr));
}

using FastFunction = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

inline PyMethodDef FastMethod(const char* name, FastFunction function, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}

// `doc` begins with the signature, as Python's own do: "name($self, a, /)\n--\n\nText".
template <typename T, auto kMethod>
void DefineFast(pybind11::class_<T>& owner, const char* name, const char* doc) {
  static PyMethodDef definition = FastMethod(name, &FastCall<T, kMethod>, doc);
  auto* const type = reinterpret_cast<PyTypeObject*>(owner.ptr());
  owner.attr(name) =
      pybind11::reinterpret_steal<pybind11::object>(PyDescr_NewMethod(type, &definition));
}

}  // namespace rts
