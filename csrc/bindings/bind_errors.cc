// rts::Error becomes the class of rtsearch_fast.errors that is named after its fault.
#include "bindings/bind.h"
#include "core/error.h"

namespace py = pybind11;

namespace rts {
namespace {

const char* ClassName(Fault fault) {
  switch (fault) {
    case Fault::kInvalidArgument: return "InvalidArgumentError";
    case Fault::kUnknownTree: return "UnknownTreeError";
    case Fault::kUnknownNode: return "UnknownNodeError";
    case Fault::kTreeState: return "TreeStateError";
    case Fault::kArenaFull: return "ArenaFullError";
    case Fault::kConcurrentUse: return "ConcurrentUseError";
    case Fault::kCorruptData: return "CorruptDataError";
    case Fault::kInvariant: return "InvariantError";
  }
  return "SearchError";
}

}  // namespace

void BindErrors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::object type =
          py::module_::import("rtsearch_fast.errors").attr(ClassName(error.fault()));
      PyErr_SetString(type.ptr(), error.what());
    }
  });
}

}  // namespace rts
