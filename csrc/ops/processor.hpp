// What the processor has, and its operating system keeps when it changes threads. Asked
// of the processor itself: some compilers' own answer, zig's, is always no.
#pragma once

namespace lamina::processor {

bool has_avx2();         // and fma
bool has_avx512();       // f, bw, cd, dq, vl, and fma
bool has_avx512_bf16();  // and all of those

}  // namespace lamina::processor
