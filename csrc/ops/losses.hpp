// Losses over rows of outputs, with their gradient: what the bindings and a network's
// step call.
#pragma once

#include "ops/dispatch.hpp"

namespace lamina {

struct LossResult {
  double sum;      // over rows of weight times loss, an elementwise loss being the mean
                   // over columns; rows are added in order
  double correct;  // rows (sigmoid: shares of them) classified rightly, whatever their
                   // weight; 0 where there are no classes
};

// gradient (rows x cols; null: none; may be the outputs, nothing else) = scale times
// weight times that of the row's loss by its outputs. `losses` is scratch of `rows`
// elements. A row of weight 0 counts nothing, even if its loss is not finite. Allocates
// nothing; may throw Interrupted (threads.hpp).
template <class T>
LossResult loss(const LossChoice&, const LossRows<T>&, double scale, T* losses,
                T* gradient);

}  // namespace lamina
