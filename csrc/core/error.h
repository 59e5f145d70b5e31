// The one exception of the core: what went wrong, and a sentence that names value and remedy.
#pragma once

#include <stdexcept>
#include <string>

namespace rts {

// Each fault has a Python class of the same name in rtsearch_fast/errors.py.
enum class Fault {
  kInvalidArgument,
  kUnknownTree,
  kUnknownNode,
  kTreeState,
  kArenaFull,
  kConcurrentUse,
  kCorruptData,
  kInvariant,
};

class Error : public std::runtime_error {
 public:
  Error(Fault fault, const std::string& message) : std::runtime_error(message), fault_(fault) {}
  Fault fault() const { return fault_; }

 private:
  Fault fault_;
};

}  // namespace rts
