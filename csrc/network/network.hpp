// A net of built-in layers in a row: the training step, its two phases, prediction.
// Every number comes out as the same calls of ops/, layer by layer, give it.
//
// The parameters lie one after the other in one buffer, their gradients in another in
// the same order; both belong to the caller. Activations, and what backward needs, live
// in an arena that grows to the largest batch and is kept: no step but the first of
// that size allocates.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "network/arena.hpp"
#include "ops/losses.hpp"
#include "ops/ops.hpp"
#include "ops/optimizers.hpp"
#include "ops/packed.hpp"

namespace lamina {

template <class T>
struct Layer {
  enum class Kind { standardize, dense, activation, dropout, noise } kind;
  std::size_t inputs, outputs;
  static constexpr std::size_t none = ~std::size_t{0};
  std::size_t kernel = none, bias = none;  // dense: where in the buffers
  ActivationChoice activation{};           // dense, activation
  double l1 = 0, l2 = 0;                   // dense
  double max_norm = std::numeric_limits<double>::infinity();
  double rate = 0;  // dropout; noise: the standard deviation
  DropoutMode mode = DropoutMode::inverted;
  const T* mean = nullptr;  // standardize
  const T* scale = nullptr;
};

// What training minimises; `logits` says that the loss takes in the last activation.
struct Goal {
  LossChoice loss;
  bool logits;
};

// Rows of a batch, or of all data: targets or labels; weights or null. Labels are
// checked before they are used: std::invalid_argument.
template <class T>
struct Examples {
  const T* x;
  const T* targets;
  const std::int64_t* labels;
  const T* weights;
  std::size_t rows;
};

// Which random bits a training pass draws: they depend on the number of the step and of
// the row, not on how rows are spread over calls.
struct Draw {
  std::uint64_t seed, step, first_row;
};

// Sums over rows; a penalty counts for each row.
struct Scores {
  double loss = 0, correct = 0;
  std::size_t rows = 0, steps = 0;
  bool finite = true;  // false: a norm to clip by was not, and nothing was updated
};

template <class T>
class Network {
 public:
  Network(std::vector<Layer<T>> layers, T* parameters, T* gradient);

  // First phase: fills the gradient of `weight` times (mean loss + penalties), or adds
  // to what is there.
  Scores gradients(const Examples<T>&, const Goal&, const Draw&, double weight,
                   bool accumulate);
  // Gives back what steps of large batches took.
  void release() { arena_.release(); }
  // Second phase: clips, updates, limits norms; false if a norm was not finite, and
  // nothing was updated. `update` counts from 1.
  bool apply(const OptimizerChoice&, double rate, std::uint64_t update, T* state);

  // Both phases in turn, over the rows order[0 ... count - 1] of the data, or the first
  // `count` if order is null, `batch` at a time; rates has a number for each step.
  // Between steps it polls (threads.hpp), and if that stops it returns early. Sums go
  // on from `scores`, so that they do not depend on how steps are spread over calls.
  // What throws leaves the steps before it in `scores`.
  void train(const Examples<T>& data, const std::int64_t* order, std::size_t count,
             std::size_t batch, const Goal&, Draw, const OptimizerChoice&,
             const double* rates, std::uint64_t update, T* state, Scores& scores);

  // y (rows x outputs), `chunk` rows at a time; of a float net in bfloat16 if that is
  // not null, by weights that are packed anew
  void predict(const T* x, std::size_t rows, std::size_t chunk,
               const Bfloat16Kernels* bfloat16, T* y);
  Scores evaluate(const Examples<T>&, const Goal&, std::size_t chunk);
  // Mean and standard deviation over `samples` training passes.
  void sample(const T* x, std::size_t rows, std::size_t chunk, std::size_t samples,
              Draw, T* mean, T* deviation);

  std::size_t features() const { return layers_.front().inputs; }
  std::size_t size() const { return size_; }  // number of parameters
  std::size_t outputs() const { return layers_.back().outputs; }
  // Multiply-adds and element operations that a row of a forward pass takes, roughly.
  std::size_t work() const { return work_; }

 private:
  // What a training pass leaves of a layer.
  struct Trace {
    T* y;
    T* saved;  // what the activation's backward reads
  };
  struct Memory {  // of one pass, in an arena
    Trace* traces;
    std::int64_t* labels;
    T *losses, *gradient, *other;
  };
  std::size_t bytes(std::size_t rows) const;
  Memory take(Arena::Lease&, std::size_t rows) const;

  Scores fill(const Examples<T>&, const Goal&, const Draw&, double weight, T* gradient,
              const Memory&);
  LossResult loss_of(const Examples<T>&, const Goal&, const T* outputs, double scale,
                     T* gradient, const Memory&) const;
  // The layers from `first` on, of a training pass; those before have left their trace.
  void forward(std::size_t first, const T* x, std::size_t rows, bool logits,
               const Draw&, bool merging, const Memory&) const;
  void backward(const T* x, std::size_t rows, bool logits, const Draw&, T* gradient,
                Memory) const;
  // The output, which is written to y unless that is null; by packed kernels of the
  // dense layers if there are any.
  using Packed = std::vector<PackedKernel>;
  const T* infer(const T* x, std::size_t rows, bool logits, const Packed&, T* y,
                 const Memory&) const;

  bool merges(std::size_t layer) const;
  ActivationChoice activation(std::size_t layer, bool logits) const;
  DropoutChoice dropout(std::size_t layer, const Draw&) const;
  double penalties(double weight, T* gradient) const;
  Matrix<T> kernel(const Layer<T>& layer) const {
    return Matrix<T>::contiguous(parameters_ + layer.kernel, layer.inputs,
                                 layer.outputs);
  }

  const T* bias(const Layer<T>& layer) const {
    return layer.bias == Layer<T>::none ? nullptr : parameters_ + layer.bias;
  }

  std::vector<Layer<T>> layers_;
  std::vector<std::size_t> sizes_;  // of the arrays of parameters, in order
  T* parameters_;
  T* gradient_;
  std::size_t size_ = 0, widest_ = 0, work_ = 0;
  std::size_t lowest_;  // the first layer that learns
  Arena arena_;
};

}  // namespace lamina
