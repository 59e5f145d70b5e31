#include "trials/draws.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/numeric.h"

namespace rts {
namespace {

double Exp(double x) { return x <= 0 ? ExpOf(x) : 1 / ExpOf(-std::min(x, 700.0)); }

}  // namespace

// Marsaglia's polar method.
double Draws::Normal() {
  for (;;) {
    const double x = 2 * Uniform() - 1;
    const double y = 2 * Uniform() - 1;
    const double s = x * x + y * y;
    if (s > 0 && s < 1) return x * std::sqrt(-2 * LogOf(s) / s);
  }
}

// Marsaglia and Tsang (2000); shapes below 1 by Gamma(a) = Gamma(a + 1) * U ** (1 / a).
double Draws::LogGamma(double shape) {
  if (shape < 1) {
    const double larger = LogGamma(shape + 1);
    return larger + LogOf(Uniform()) / shape;
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = Normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    const double log_v = LogOf(v);
    if (LogOf(Uniform()) < 0.5 * x * x + d - d * v + d * log_v) return LogOf(d) + log_v;
  }
}

double Draws::Gamma(double shape) {
  return std::max(Exp(LogGamma(shape)), std::numeric_limits<double>::min());
}

double Draws::Beta(double a, double b) {
  const double x = LogGamma(a);
  const double y = LogGamma(b);
  // x and y are logarithms: e**x / (e**x + e**y)
  return y <= x ? 1 / (1 + ExpOf(y - x)) : ExpOf(x - y) / (1 + ExpOf(x - y));
}

}  // namespace rts
