// Refuses a second thread instead of racing with it.
#pragma once

#include <atomic>

#include "core/error.h"

namespace rts {

class ExclusiveUse {
 public:
  explicit ExclusiveUse(std::atomic<bool>& busy) : busy_(busy) {
    if (busy_.exchange(true, std::memory_order_acquire)) {
      throw Error(Fault::kConcurrentUse,
                  "another thread is inside this forest: give each thread its own forest, or "
                  "guard this one with a lock");
    }
  }
  ~ExclusiveUse() { busy_.store(false, std::memory_order_release); }
  ExclusiveUse(const ExclusiveUse&) = delete;
  ExclusiveUse& operator=(const ExclusiveUse&) = delete;

 private:
  std::atomic<bool>& busy_;
};

}  // namespace rts
