// A kind of layer as the network knows it: each is one file in network/layers/, which
// says what the layer is made of, what it keeps and how it computes, and adds itself to
// the kinds by the name that Python gives it. Nothing else lists them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/bfloat16.hpp"
#include "ops/ops.hpp"
#include "ops/optimizers.hpp"
#include "ops/packed.hpp"
#include "ops/sparse.hpp"

namespace lamina {

// Which random bits a training pass draws: they depend on the number of the step and of
// the row, not on how rows are spread over calls.
struct Draw {
  std::uint64_t seed, step, first_row;
  // Of the step, for each place in the net: what a layer that is `scheduled` there
  // drops. Null where there is none.
  const double* shares = nullptr;

  // As lamina.initializers numbers purposes and streams.
  std::uint64_t stream(std::uint64_t purpose, std::size_t layer) const {
    return step << 32 | purpose << 16 | (layer & 0xffff);
  }
};

// The rows of a pass, as a layer is asked for them.
struct Batch {
  std::size_t rows;
  Draw draw;
  bool training;
  bool sampling = false;  // a training pass for its noise alone
  bool bare = false;      // without the activation, which the loss or what follows has
  const PackedKernel* packed = nullptr;  // instead of the layer's own
  Products products = {};
  const Shards* shards = nullptr;  // whose gradients are added in their tree
};

// What Python says of a layer, by the names of its settings. What they may be has been
// checked there.
template <class T>
class Settings {
 public:
  virtual double number(const char* name) const = 0;
  virtual std::size_t count(const char* name) const = 0;
  virtual std::vector<std::size_t> counts(const char* name) const = 0;
  virtual bool flag(const char* name) const = 0;
  virtual ActivationChoice activation(const char* name) const = 0;
  virtual DropoutMode mode(const char* name) const = 0;
  // Of Python's own, which it keeps; training may change it.
  virtual T* array(const char* name, std::size_t size) const = 0;

 protected:
  ~Settings() = default;
};

// The activation, or its backward, of rows; y may be x.
template <class T>
void apply(const ActivationChoice& choice, Pass pass, const T* x, const T* saved, T* y,
           std::size_t rows, std::size_t cols) {
  if (choice.by_row())
    activate_rows(kernels<T>(), pass, choice.row_index(), x, saved, y, rows, cols);
  else
    activate(kernels<T>(), pass, choice.index, x, saved, y, rows * cols,
             static_cast<T>(choice.parameter));
}

// The ends of a block whose input is added to its output: the network adds.
enum class Block { none, begin, end };

template <class T>
class Layer {
 public:
  Layer(std::size_t inputs, std::size_t outputs)
      : inputs(inputs), outputs(outputs), work(outputs) {}
  virtual ~Layer() = default;

  const std::size_t inputs, outputs;

  // A kind says in its constructor:
  std::vector<std::size_t> sizes;  // of its arrays of parameters, in order
  std::size_t work;        // multiply-adds and element operations of a row, roughly
  bool random = false;     // two passes may differ
  bool scheduled = false;  // what it draws, depends on Draw::shares
  Block block = Block::none;

  // The network says, before any pass:
  std::size_t index = 0;    // the place in the net
  T* parameters = nullptr;  // its arrays, one after the other
  bool trainable = true;
  std::vector<Pace> factors;  // of each array
  bool joined = false;        // joins() what comes before it

  // How many numbers a training pass leaves for backward, beside x and y.
  virtual std::size_t saves(std::size_t /*rows*/) const { return 0; }

  // Where the output lies: in y, or x itself where nothing changes. `saved` is null
  // unless backward may follow; y is x where the layer is joined.
  virtual const T* forward(const Batch&, const T* x, T* y, T* saved) const = 0;

  // Where the gradient by x lies: in dx, which may be null where nobody asks for it, or
  // in dy, which is free to change. Writes the whole of `gradient`, laid out as the
  // parameters, unless that is null.
  virtual T* backward(const Batch&, const T* x, const T* y, const T* saved, T* dy,
                      T* dx, T* gradient) const = 0;

  // What the layer adds to the loss; `weight` times its gradient is added to `gradient`
  // unless that is null.
  virtual double penalty(double /*weight*/, T* /*gradient*/) const { return 0; }

  // What an update must not leave as it is: norms beyond their limit.
  virtual void limit() const {}

  // Whether a step of the batch has products in bfloat16.
  virtual bool is_narrow(const Batch&) const { return false; }

  // Whether backward heeds Batch::shards: nothing to add, or added as they say.
  virtual bool adds_shards() const { return sizes.empty(); }

  // The kernel for inference in bfloat16, of a layer that has one.
  virtual std::optional<PackedKernel> pack(const Bfloat16Kernels&) const { return {}; }

  // What the output went through last, elementwise or by rows.
  virtual const ActivationChoice* activation() const { return nullptr; }

  // What it does with sparse rows as the inputs of a net, if it is the first layer or
  // those before it keep them: nothing, which makes them dense; change the values of
  // their entries; or take them.
  enum class Sparse { none, keeps, takes };
  virtual Sparse sparse() const { return Sparse::none; }
  virtual void change(const Batch&, const Taken<T>&) const {}
  // As forward, and as backward but for the kernel by which x is multiplied, the first
  // array: dy becomes the gradient by that product.
  virtual void forward_sparse(const Batch&, const SparseRows<T>& /*x*/, T* /*y*/,
                              T* /*saved*/) const {}
  virtual void backward_sparse(const Batch&, const T* /*y*/, const T* /*saved*/,
                               T* /*dy*/, T* /*gradient*/) const {}
  // Whether parameters with a gradient of 0 are changed by the optimizer alone.
  virtual bool rests() const { return true; }

  // Whether it can follow that layer in training without an array of its own, and with
  // a backward that has the layer's activation in it.
  virtual bool joins(const Layer& /*before*/) const { return false; }
};

// The kinds of layers by name.
struct Kind {
  template <class T>
  using Make = std::unique_ptr<Layer<T>> (*)(const Settings<T>&, std::size_t inputs);

  const char* name;
  Make<float> make_float;
  Make<double> make_double;

  static std::vector<Kind>& all();
};

// `const Register<Dense> dense{"dense"};` at the end of a layer's file.
template <template <class> class L>
struct Register {
  explicit Register(const char* name) {
    Kind::all().push_back({name, make<float>, make<double>});
  }
  template <class T>
  static std::unique_ptr<Layer<T>> make(const Settings<T>& settings, std::size_t in) {
    return std::make_unique<L<T>>(settings, in);
  }
};

}  // namespace lamina
