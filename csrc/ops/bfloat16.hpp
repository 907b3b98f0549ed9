// Dense layers whose products are in bfloat16: what ops.hpp and packed.hpp make of the
// kernels of kernels/bfloat16.hpp.
#pragma once

#include <algorithm>

#include "ops/ops.hpp"

namespace lamina {

// A product with a matrix in panels, cut into parts for threads where that gives more
// of them: at borders of panels, or of so many rows.
class PanelParts {
 public:
  PanelParts(std::size_t rows, std::size_t depth, std::size_t cols, std::size_t block,
             double per_cycle);

  std::size_t workers() const { return workers_; }
  // work(row, rows, column, columns, worker) for each part
  template <class Work>
  void run(const Work& work) const {
    parallel(units_, cycles_, workers_,
             [&](std::size_t first, std::size_t count, std::size_t worker) {
               const std::size_t begin = first * unit_;
               const std::size_t extent = by_columns_ ? cols_ : rows_;
               const std::size_t end = std::min(begin + count * unit_, extent);
               by_columns_ ? work(0, rows_, begin, end - begin, worker)
                           : work(begin, end - begin, 0, cols_, worker);
             });
  }

 private:
  std::size_t rows_, cols_;
  bool by_columns_;
  std::size_t unit_, units_, workers_;
  double cycles_;
};

// The same of a product in bfloat16.
class Bfloat16Parts {
 public:
  Bfloat16Product product;

  Bfloat16Parts(const Bfloat16Kernels&, const Bfloat16Product& whole);
  std::size_t scratch() const { return parts_.workers() * own_; }  // elements
  void run(Bfloat16Pair* scratch) const;

 private:
  const Bfloat16Kernels& kernels_;
  PanelParts parts_;
  std::size_t own_;
};

// What the products of a step are computed in.
struct Products {
  const Bfloat16Kernels* bfloat16 = nullptr;  // or else in float
  bool wherever_possible = false;             // or where a step gains

  // Null for a layer whose products are in float: all that have sums beyond a span.
  const Bfloat16Kernels* of_layer(std::size_t rows, std::size_t inputs,
                                  std::size_t outputs) const;
};

// dense() of ops.hpp and the products of its dense_backward(), dz being the gradient by
// what the activation was given: both factors of a product are rounded to bfloat16, all
// else is in float. Matrices are contiguous.
void dense(const Bfloat16Kernels&, const float* x, std::size_t rows, std::size_t inputs,
           const float* kernel, std::size_t outputs, const float* bias,
           const ActivationChoice&, float* y, float* saved);
void dense_backward(const Bfloat16Kernels&, const float* dz, const float* x,
                    std::size_t rows, std::size_t inputs, const float* kernel,
                    std::size_t outputs, float* dx, float* dkernel);

}  // namespace lamina
