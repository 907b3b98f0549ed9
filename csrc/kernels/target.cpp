// Compiled once per row of the table of targets in CMakeLists.txt: every kernel of one
// instruction set but the matrix product, gathered with it into its KernelTable.
#include "kernels/columns.hpp"
#include "kernels/dropout.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/layer_norm.hpp"
#include "kernels/loss.hpp"
#include "kernels/noise.hpp"
#include "kernels/norms.hpp"
#include "kernels/optimizer.hpp"
#include "kernels/penalty.hpp"
#include "kernels/periodic.hpp"
#include "kernels/quantile.hpp"
#include "kernels/softmax.hpp"
#include "kernels/sparse.hpp"

#define LAMINA_STRING_(name) #name
#define LAMINA_STRING(name) LAMINA_STRING_(name)

namespace lamina::LAMINA_TARGET {

template <class T>
std::size_t gemm_scratch(const Product<T>& product);  // in gemm.cpp, as is the next
template <class T>
void gemm(const Product<T>& product);

template <class T, class... A>
constexpr Kernels<T> kernels(List<A...>) {
#define LAMINA_OF(name, ...) name<T>,
#define LAMINA_NAMED(name) .name = name<T>,
  return {.elementwise = {{forward<A, T>, derivative<A, T>, backward<A, T>,
                           epilogue<A, T>}...},
          .losses = {LAMINA_LOSSES(LAMINA_OF)},
          .optimizers = {LAMINA_OPTIMIZERS(LAMINA_OF)},
          LAMINA_KERNELS(LAMINA_NAMED)};
}

extern const KernelTable kernel_table;
constexpr KernelTable kernel_table = {
    .name = LAMINA_STRING(LAMINA_TARGET),
    .vector_bytes = LAMINA_VECTOR_BYTES,
    .f32 = kernels<float>(Activations{}),
    .f64 = kernels<double>(Activations{}),
    .dropout_mask = dropout_mask,
    .random_words = random_words,
    .normal_quantile = normal_quantile,
};

}  // namespace lamina::LAMINA_TARGET
