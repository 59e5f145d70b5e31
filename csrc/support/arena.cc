#include "support/arena.h"

#include <sys/mman.h>

#include <new>

namespace rts {

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

void* ReservePages(std::size_t bytes) {
  // NORESERVE: thousands of trees reserve far more than they will ever touch.
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) throw std::bad_alloc();
  return address;
}

void ReleasePages(void* address, std::size_t bytes) noexcept { munmap(address, bytes); }

}  // namespace rts
