#define RTS_ISA_NAMESPACE avx512
#include "simd/select.inc"
