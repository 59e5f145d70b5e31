// rtsearch_fast._core: the tree core for Python. One bind_*() a concept, nothing else here.
#include <pybind11/pybind11.h>

#include "bindings/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "C++ tree core of rtsearch_fast";
  rts::BindErrors(m);
  rts::BindParams(m);
  rts::BindForest(m);
  rts::BindLightZero(m);
  rts::BindTrials(m);
  rts::BindLoop(m);
}
