// CHECK macros that print both operands, and a runner: all that the core's tests need.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string_view>
#include <type_traits>
#include <vector>

namespace check {

template <typename T>
void Print(std::ostream& out, const T& value) {
  if constexpr (std::is_enum_v<T>) {
    out << static_cast<std::int64_t>(value);
  } else if constexpr (requires { out << value; }) {
    out << value;
  } else {
    out << '{';
    for (const auto& item : value) {
      Print(out, item);
      out << ' ';
    }
    out << '}';
  }
}

template <typename A, typename B>
void Equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::cerr << file << ':' << line << ": " << text << "\n  left:  ";
  Print(std::cerr, a);
  std::cerr << "\n  right: ";
  Print(std::cerr, b);
  std::cerr << std::endl;
  std::abort();
}

inline void True(bool ok, const char* text, const char* file, int line) {
  if (ok) return;
  std::cerr << file << ':' << line << ": " << text << " is false" << std::endl;
  std::abort();
}

struct Test {
  const char* name;
  void (*run)();
};

// Run the tests in order; the first failure ends the program.
inline int RunAll(std::string_view file, const std::vector<Test>& tests) {
  for (const Test& test : tests) {
    try {
      test.run();
    } catch (const std::exception& error) {
      std::cerr << test.name << " threw: " << error.what() << std::endl;
      return EXIT_FAILURE;
    }
  }
  std::cout << file << ": " << tests.size() << " tests passed" << std::endl;
  return EXIT_SUCCESS;
}

}  // namespace check

#define CHECK(condition) check::True((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) check::Equal((a), (b), #a " == " #b, __FILE__, __LINE__)

// Does `statement` throw rts::Error with this fault?
#define CHECK_THROWS(statement, wanted)                                    \
  do {                                                                     \
    bool thrown = false;                                                   \
    try {                                                                  \
      statement;                                                           \
    } catch (const rts::Error& error) {                                    \
      thrown = true;                                                       \
      CHECK_EQ(error.fault(), wanted);                                     \
    }                                                                      \
    check::True(thrown, #statement " throws " #wanted, __FILE__, __LINE__); \
  } while (false)
