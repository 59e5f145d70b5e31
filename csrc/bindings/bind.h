// The parts that the module is made of, in the order in which they must be bound.
#pragma once

#include <pybind11/pybind11.h>

namespace rts {

class Forest;

void BindErrors(pybind11::module_& m);
void BindParams(pybind11::module_& m);
void BindForest(pybind11::module_& m);
void BindMoves(pybind11::class_<Forest>& forest);  // a part of that
void BindLightZero(pybind11::module_& m);
void BindTrials(pybind11::module_& m);
void BindLoop(pybind11::module_& m);

}  // namespace rts
