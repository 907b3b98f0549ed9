// Compiled once per row of the table of targets in CMakeLists.txt: every kernel of one
// instruction set, gathered into its KernelTable.
#include "kernels/dropout.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_table.hpp"
#include "kernels/loss.hpp"
#include "kernels/noise.hpp"
#include "kernels/norms.hpp"
#include "kernels/optimizer.hpp"
#include "kernels/penalty.hpp"
#include "kernels/softmax.hpp"

#define LAMINA_STRING_(name) #name
#define LAMINA_STRING(name) LAMINA_STRING_(name)

namespace lamina::LAMINA_TARGET {

template <class T, class... A>
constexpr Kernels<T> kernels(List<A...>) {
  return {
      .elementwise = {{forward<A, T>, derivative<A, T>, backward<A, T>,
                       epilogue<A, T>}...},
      .stream = stream<T>,
      .softmax = softmax<T>,
      .log_softmax = log_softmax<T>,
      .softmax_backward = softmax_backward<T>,
      .log_softmax_backward = log_softmax_backward<T>,
      .gemm = gemm<T>,
      .gemm_scratch = gemm_scratch<T>,
      .column_sums = column_sums<T>,
      .dropout = dropout<T>,
      .dropout_masked = dropout_masked<T>,
      .relu_dropout_backward = relu_dropout_backward<T>,
      .gaussian_noise = gaussian_noise<T>,
      .losses = {softmax_cross_entropy<T>, sigmoid_cross_entropy<T>, squared_error<T>,
                 absolute_error<T>, huber<T>, poisson<T>},
      .penalty = penalty<T>,
      .sgd = sgd<T>,
      .rmsprop = rmsprop<T>,
      .adagrad = adagrad<T>,
      .adam = adam<T>,
      .lion = lion<T>,
      .sum_of_squares = sum_of_squares<T>,
      .scale = scale<T>,
      .clip = clip<T>,
      .limit_norms = limit_norms<T>,
  };
}

extern const KernelTable kernel_table;
constexpr KernelTable kernel_table = {
    .name = LAMINA_STRING(LAMINA_TARGET),
    .vector_bytes = LAMINA_VECTOR_BYTES,
    .f32 = kernels<float>(Activations{}),
    .f64 = kernels<double>(Activations{}),
    .dropout_mask = dropout_mask,
    .random_words = random_words,
};

}  // namespace lamina::LAMINA_TARGET
