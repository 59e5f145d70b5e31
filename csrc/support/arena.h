// An array of fixed capacity that never moves: address space is reserved at once, memory is taken
// page by page as it is first touched, and given back when the arena is destroyed.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace rts {

// Reserve `bytes` of zeroed address space. Throws std::bad_alloc.
void* ReservePages(std::size_t bytes);
void ReleasePages(void* address, std::size_t bytes) noexcept;

template <typename T>
class Arena {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Arena() = default;
  explicit Arena(std::size_t capacity)
      : data_(static_cast<T*>(ReservePages(capacity * sizeof(T)))), capacity_(capacity) {}
  ~Arena() {
    if (data_ != nullptr) ReleasePages(data_, capacity_ * sizeof(T));
  }
  Arena(Arena&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  Arena& operator=(Arena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  std::size_t capacity() const { return capacity_; }

 private:
  T* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace rts
