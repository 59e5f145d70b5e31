#define RTS_ISA_NAMESPACE baseline
#include "simd/select.inc"
