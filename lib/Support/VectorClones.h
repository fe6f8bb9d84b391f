//===- VectorClones.h - one function compiled for several vector units ------===//
//
// A function marked NIBBLE_VECTOR_CLONES is compiled for AVX-512, for AVX2 and for the baseline; the
// loader picks the one that the machine has. Functions that it calls must be inlined into it to gain from that.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_VECTORCLONES_H
#define NIBBLE_SUPPORT_VECTORCLONES_H

// The loader would call the choosing function before the address sanitizer is ready.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define NIBBLE_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define NIBBLE_VECTOR_CLONES
#endif

#endif
