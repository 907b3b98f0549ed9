// A net of the core's layers in a row: the training step, its two phases, prediction.
// Every number comes out as the same calls of ops/, layer by layer, give it.
//
// The parameters lie one after the other in one buffer, their gradients in another in
// the same order; both belong to the caller. Activations, and what backward needs, live
// in an arena that grows to the largest batch and is kept: no step but the first of
// that size allocates.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "network/arena.hpp"
#include "network/layer.hpp"
#include "network/sparse_inputs.hpp"
#include "ops/losses.hpp"
#include "ops/optimizers.hpp"

namespace lamina {

// What training minimises; `logits` says that the loss takes in the last activation.
// The losses of a batch are divided by its rows; if per_weight is not 0, times that
// number by the sum of its weights, and so are penalties.
struct Goal {
  LossChoice loss;
  bool logits;
  double per_weight = 0;
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
  const Csr* sparse = nullptr;  // in place of x
};

// Sums over rows; a penalty counts for each row. The loss includes it.
struct Scores {
  double loss = 0, correct = 0, penalty = 0;
  std::size_t rows = 0, steps = 0;
  bool finite = true;  // false: a norm to clip by was not, and nothing was updated
};

// What follows the parameters: after each step it moves to them by that share.
template <class T>
struct Average {
  T* values;  // null: nothing does
  double share;
};

template <class T>
class Network {
 public:
  using Layers = std::vector<std::unique_ptr<Layer<T>>>;
  // `first` is the place of the first layer, whose random bits depend on it.
  Network(Layers layers, T* parameters, T* gradient, std::size_t first = 0);

  // First phase: fills the gradient of `weight` times (mean loss + penalties), or adds
  // to what is there.
  Scores gradients(const Examples<T>&, const Goal&, const Draw&, double weight,
                   bool accumulate);
  // The gradient of a batch of so many rows from examples that are shards of it, and
  // the scores of each: the same bits as from one shard at a time, with `weight` the
  // share of its rows, added up as Shards says. Only if adds_shards() of their rows.
  void gradients(const Examples<T>&, const Goal&, const Draw&, std::size_t batch,
                 const Shards&, Scores*);
  bool adds_shards(std::size_t rows) const;
  // The same of the sum of dy times the outputs, if `fill` asks for it; the gradient by
  // x is written to dx unless that is null.
  void backward(const T* x, std::size_t rows, const T* dy, const Draw&, bool training,
                bool fill, bool accumulate, T* dx);
  // The gradient of the mean loss by x.
  void input_gradient(const Examples<T>&, const Goal&, const Draw&, bool training,
                      T* dx);
  // Gives back what steps of large batches took.
  void release() { arena_.release(); }
  // Second phase: clips, updates, limits norms; false if a norm was not finite, and
  // nothing was updated. `update` counts from 1.
  bool apply(const OptimizerChoice&, double rate, std::uint64_t update, T* state);

  // The same of parameters begin ... end - 1 alone, where updates_apart(): what it
  // comes to for each does not depend on the others.
  void apply(const OptimizerChoice&, double rate, std::uint64_t update, T* state,
             std::size_t begin, std::size_t end);
  bool updates_apart(const OptimizerChoice&) const;

  // Both phases in turn, over the rows order[0 ... count - 1] of the data, or the first
  // `count` if order is null, `batch` at a time, each step at its pace.
  // Between steps it polls (threads.hpp), and if that stops it returns early. Sums go
  // on from `scores`, so that they do not depend on how steps are spread over calls.
  // What throws leaves the steps before it in `scores`. Products in bfloat16 are those
  // of float nets alone.
  void train(const Examples<T>& data, const std::int64_t* order, std::size_t count,
             std::size_t batch, const Goal&, Products, Draw, const OptimizerChoice&,
             const Paces&, std::uint64_t update, T* state, const Average<T>&,
             Scores& scores);

  // Whether a step of so many rows has products in bfloat16.
  bool is_narrow(std::size_t rows, Products) const;
  // Whether examples may be sparse, but for the gradient by x.
  bool takes_sparse() const { return entry_ < layers_.size(); }

  // The output of one pass; true: it is x, and y was not written.
  bool forward(const T* x, std::size_t rows, const Draw&, bool training, T* y);
  // y (rows x outputs), `chunk` rows of x, or of `sparse` if that is not null, at a
  // time; of a float net in bfloat16 if that is not null, by weights that are packed
  // anew
  void predict(const T* x, const Csr* sparse, std::size_t rows, std::size_t chunk,
               const Bfloat16Kernels* bfloat16, T* y);
  Scores evaluate(const Examples<T>&, const Goal&, std::size_t chunk);
  // Mean and standard deviation over `samples` training passes.
  void sample(const T* x, std::size_t rows, std::size_t chunk, std::size_t samples,
              Draw, T* mean, T* deviation);

  std::size_t features() const { return layers_.front()->inputs; }
  std::size_t size() const { return size_; }  // number of parameters
  std::size_t outputs() const { return layers_.back()->outputs; }
  // Whether passes of training need Draw::shares, and how many for each step.
  bool scheduled() const {
    return std::any_of(layers_.begin(), layers_.end(),
                       [](const auto& layer) { return layer->scheduled; });
  }
  std::size_t places() const { return layers_.back()->index + 1; }
  // Multiply-adds and element operations that a row of a forward pass takes, roughly.
  std::size_t work() const { return work_; }

 private:
  // What a pass leaves of a layer.
  struct Trace {
    T *room, *saved;
    const T* y;  // mostly in the room
  };
  struct Memory {  // of one pass, in an arena
    Trace* traces;
    std::int64_t* labels;
    T *losses, *gradient, *other;
    SparseInputs<T>* sparse;  // or null
  };
  std::size_t bytes(std::size_t rows, bool sparse = false) const;
  Memory take(Arena::Lease&, std::size_t rows, SparseInputs<T>* = nullptr) const;
  // Elements of a row that any layer writes.
  std::size_t widest(bool sparse) const;
  // Takes a batch of sparse rows, as the layers before `entry_` leave them.
  void enter(SparseInputs<T>&, const std::int64_t* order, std::size_t first,
             const Batch&) const;
  // What comes out of the layer that takes it, to y.
  void pass_entry(const SparseInputs<T>&, Batch, bool logits, T* y, T* saved) const;
  // `work` fills a gradient of its own if one is to be added to what is there.
  template <class Work>
  auto filling(std::size_t rows, bool accumulate, Work work,
               const Csr* sparse = nullptr);

  // Calls work(x, first, rows, memory) for `chunk` rows at a time.
  template <class Work>
  void inferring(const T* x, const Csr* sparse, std::size_t rows, std::size_t chunk,
                 Work work);

  Scores fill(const Examples<T>&, const Goal&, Products, const Draw&, double weight,
              T* gradient, const Memory&);
  LossResult loss_of(const Examples<T>&, const Goal&, const T* outputs, double scale,
                     T* gradient, const Memory&) const;
  // What sums over the rows are multiplied and divided by, and penalties divided.
  struct Mean {
    double factor, losses, penalties;
  };
  static Mean mean(const Examples<T>&, const Goal&);
  // The layers from `first` on; those before have left their trace. `joining` lets
  // layers write over what the one before them left.
  const T* forward(std::size_t first, const T* x, Batch, bool logits, bool joining,
                   const Memory&) const;
  // From the gradient by the outputs in `memory`: fills `gradient` unless that is null,
  // and returns the gradient by x if `down` says that it is wanted.
  const T* backward(const T* x, Batch, bool logits, bool down, T* gradient,
                    Memory) const;
  // The output, which is written to y unless that is null; by packed kernels, one a
  // layer, if there are any.
  using Packed = std::vector<std::optional<PackedKernel>>;
  const T* infer(const T* x, std::size_t rows, bool logits, const Packed&, T* y,
                 const Memory&) const;
  double penalties(double weight, T* gradient) const;

  bool is_last(std::size_t layer) const { return layer + 1 == layers_.size(); }
  // Whether rows of the kernel that sparse ones do not meet may wait.
  bool may_wait(const OptimizerChoice&) const;
  // Updates the parameters begin ... end - 1 that learn.
  void move(const OptimizerChoice&, const Pace&, std::uint64_t update, T* state,
            std::size_t begin, std::size_t end);
  // Second phase; whether that kernel has moved before.
  bool apply(const OptimizerChoice&, const Pace&, std::uint64_t update, T* state,
             bool kernel_has);
  T* own(std::size_t layer, T* gradient) const {
    return gradient && layers_[layer]->trainable
               ? gradient + (layers_[layer]->parameters - parameters_)
               : nullptr;
  }

  struct Span {
    std::size_t first, size;
    Pace factors;
  };
  // Of the parameters, which sparse rows are multiplied by.
  Span entry_kernel() const {
    const Layer<T>& entry = *layers_[entry_];
    return {static_cast<std::size_t>(entry.parameters - parameters_), entry.sizes[0],
            entry.factors[0]};
  }
  Layers layers_;
  std::vector<std::size_t> sizes_;    // of the arrays of parameters, in order
  std::vector<std::size_t> partner_;  // of a layer at the end of a block, the other end
  std::vector<Span> learning_, held_;  // which parameters change, and which do not
  T* parameters_;
  T* gradient_;
  std::size_t size_ = 0, work_ = 0;
  std::size_t lowest_;  // the first layer that learns
  std::size_t entry_;   // the layer that takes sparse rows, if there is one
  Arena arena_;
};

}  // namespace lamina
