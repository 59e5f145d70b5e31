#define RTS_ISA_NAMESPACE avx2
#include "simd/select.inc"
