// NumPy arrays as spans, without copies and without silent conversions.
#pragma once

#include <pybind11/numpy.h>

#include <span>
#include <string>

#include "core/error.h"

namespace rts {

// The memory of a one-dimensional C-contiguous array of exactly dtype T. Anything else is a
// TypeError (not an array, other dtype) or InvalidArgumentError (shape) that names the remedy.
template <typename T>
std::span<const T> AsSpan(const pybind11::handle& object, const char* name) {
  namespace py = pybind11;
  // Only for messages: the name of a dtype costs more than the whole call.
  const auto wanted = [] {
    return py::str(py::dtype::of<T>()).template cast<std::string>();
  };
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(std::string(name) + " is a " + Py_TYPE(object.ptr())->tp_name +
                         ": pass a NumPy array of dtype " + wanted());
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!py::isinstance<py::array_t<T>>(array)) {
    throw py::type_error(std::string(name) + " has dtype " +
                         py::str(array.dtype()).template cast<std::string>() +
                         ": convert it with .astype(np." + wanted() + ")");
  }
  if (array.ndim() != 1) {
    throw Error(Fault::kInvalidArgument, std::string(name) + " has " +
                                             std::to_string(array.ndim()) +
                                             " dimensions: pass a one-dimensional array");
  }
  if (!(array.flags() & py::array::c_style)) {
    throw Error(Fault::kInvalidArgument,
                std::string(name) + " is not contiguous: pass np.ascontiguousarray(" + name + ")");
  }
  if (!(array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_)) {
    throw Error(Fault::kInvalidArgument, std::string(name) + " is not aligned: pass " + name +
                                             ".copy()");
  }
  return {static_cast<const T*>(array.data()), static_cast<std::size_t>(array.size())};
}

// A fresh array that takes over nothing: its entries are written by the caller.
template <typename T>
std::pair<pybind11::array_t<T>, std::span<T>> NewArray(std::size_t size) {
  pybind11::array_t<T> array(static_cast<pybind11::ssize_t>(size));
  return {array, {array.mutable_data(), size}};
}

}  // namespace rts
