// Network as Python sees it: a net's layers, bound to its two flat buffers.
#include <pybind11/critical_section.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "bindings/activation_function.hpp"
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"
#include "bindings/losses.hpp"
#include "bindings/optimizers.hpp"
#include "bindings/packed.hpp"
#include "bindings/sparse.hpp"
#include "network/network.hpp"

namespace lamina {

namespace {

// What `Layer.core` returns: a name of a kind, and its settings by name.
template <class T>
class Described final : public Settings<T> {
 public:
  explicit Described(const py::dict& settings) : settings_(settings) {}

  double number(const char* name) const override {
    return held<T>(name, py::float_(at(name)));
  }
  std::size_t count(const char* name) const override {
    return py::cast<std::size_t>(at(name));
  }
  std::vector<std::size_t> counts(const char* name) const override {
    std::vector<std::size_t> found;
    for (py::handle each : at(name)) found.push_back(py::cast<std::size_t>(each));
    return found;
  }
  bool flag(const char* name) const override { return py::cast<bool>(at(name)); }
  ActivationChoice activation(const char* name) const override {
    const ActivationChoice choice = activation_choice(at(name));
    require_parameter(choice, std::is_same_v<T, double>);
    return choice;
  }
  DropoutMode mode(const char* name) const override { return dropout_mode(at(name)); }
  T* array(const char* name, std::size_t size) const override {
    return in_place<T>(name, at(name), size);
  }

 private:
  py::object at(const char* name) const { return settings_[name]; }
  py::dict settings_;
};

template <class T>
std::unique_ptr<Layer<T>> layer_of(py::handle description, std::size_t inputs) {
  const auto [name, settings] = py::cast<std::pair<std::string, py::dict>>(description);
  for (const Kind& kind : Kind::all()) {
    if (name != kind.name) continue;
    const Described<T> described(settings);
    std::unique_ptr<Layer<T>> layer;
    if constexpr (std::is_same_v<T, float>)
      layer = kind.make_float(described, inputs);
    else
      layer = kind.make_double(described, inputs);
    layer->trainable = described.flag("trainable");
    for (py::handle each : settings["factors"]) {
      const auto [rate, decay] = py::cast<std::pair<double, double>>(each);
      layer->factors.push_back({.rate = rate, .decay = decay});
    }
    return layer;
  }
  throw py::value_error("unknown kind of layer " + name);
}

// The number of the rows of x; ValueError unless they are inputs of the net.
template <class T>
std::size_t rows_of(const Network<T>& net, const Argument& x) {
  const std::size_t dimensions = x.shape().size();
  if (dimensions != 2)
    throw py::value_error(
        "x must be 2-d (rows, features), got shape " + to_string(x.shape()) +
        (dimensions == 1
             ? "; use reshape(-1, 1) for one feature, reshape(1, -1) for one row"
         : dimensions > 2 ? "; use reshape(len(x), -1)"
                          : ""));
  if (x.extent(1) != net.features())
    throw py::value_error("x must have " + std::to_string(net.features()) +
                          " features, got " + std::to_string(x.extent(1)));
  return x.extent(0);
}

// The rows of x, an array in the net's type or sparse; they live as long as this does.
template <class T>
struct Inputs {
  std::optional<Argument> array;
  std::optional<SparseArgument> held;
  std::size_t rows;
  const T* x = nullptr;
  const Csr* sparse = nullptr;

  Inputs(const Network<T>& net, py::handle given) {
    if (net.takes_sparse() && SparseArgument::is(given)) {
      sparse = &held.emplace("x", given).rows();
      rows = sparse->rows;
      if (sparse->cols != net.features())
        throw py::value_error("x must have " + std::to_string(net.features()) +
                              " features, got " + std::to_string(sparse->cols));
    } else {
      rows = rows_of(net, array.emplace("x", given));
      x = array->template contiguous<T>();
    }
  }
};

// Examples in the net's type; they live as long as this does.
template <class T>
struct Data {
  Inputs<T> inputs;
  Argument targets;
  py::object weight_array, label_array;
  Examples<T> examples{};

  Data(const Network<T>& net, const LossChoice& loss, py::handle rows, py::handle y,
       py::handle weights)
      : inputs(net, rows), targets("y", y) {
    const std::size_t n = examples.rows = inputs.rows;
    examples.x = inputs.x;
    examples.sparse = inputs.sparse;
    if (targets.shape().size() == 1 && loss.kind == LossKind::softmax_cross_entropy) {
      targets.require_shape({n}, "a label for each row");
      PyObject* converted = taking_gil([&] {
        return PyArray_FROM_OTF(reinterpret_cast<PyObject*>(targets.array()), NPY_INT64,
                                NPY_ARRAY_CARRAY_RO);
      });
      if (!converted) throw py::error_already_set();
      label_array = py::reinterpret_steal<py::object>(converted);
      examples.labels = static_cast<const std::int64_t*>(
          PyArray_DATA(reinterpret_cast<PyArrayObject*>(converted)));
    } else {
      if (targets.shape().size() != 1 || net.outputs() != 1)
        targets.require_shape({n, net.outputs()}, "that of the outputs");
      else
        targets.require_shape({n}, "that of the outputs");
      examples.targets = targets.template contiguous<T>();
    }
    if (weights.is_none()) return;
    Argument w("sample_weight", weights);
    w.require_shape({n}, "a weight for each row");
    examples.weights = w.template contiguous<T>();
    weight_array =
        py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(w.array()));
  }
};

// Calls f(numbers, null pointer of their type) for an array that needs no other check,
// but of its shape and its numbers, before train(); false if it is none.
template <class Function>
bool of_plain(py::handle value, const Function& f) {
  auto* array = reinterpret_cast<PyArrayObject*>(value.ptr());
  if (!PyArray_CheckExact(value.ptr()) || !PyArray_ISCARRAY_RO(array)) return false;
  const void* data = PyArray_DATA(array);
  switch (PyArray_TYPE(array)) {
    case NPY_FLOAT:
      return f(array, static_cast<const float*>(data));
    case NPY_DOUBLE:
      return f(array, static_cast<const double*>(data));
    case NPY_INT64:
      return f(array, static_cast<const std::int64_t*>(data));
    case NPY_INT32:
      return f(array, static_cast<const std::int32_t*>(data));
    case NPY_BOOL:
    case NPY_UINT8:
      return f(array, static_cast<const std::uint8_t*>(data));
    case NPY_INT8:
      return f(array, static_cast<const std::int8_t*>(data));
    default:
      return false;
  }
}

// Whether all numbers, in T, are finite and within the bounds.
template <class T, class U>
bool all_within(const U* x, std::size_t n, double low, double high) {
  constexpr double limit = std::numeric_limits<T>::max();
  const auto least = static_cast<T>(std::max(low, -limit));
  const auto most = static_cast<T>(std::min(high, limit));
  const auto is_good = [=](U given) {
    const auto value = static_cast<T>(given);
    return static_cast<int>(value >= least) & static_cast<int>(value <= most);
  };
  constexpr std::size_t turn = 16;  // which the compiler makes a vector of
  int good[turn];
  std::fill_n(good, turn, 1);
  std::size_t i = 0;
  for (; i + turn <= n; i += turn)
    for (std::size_t k = 0; k < turn; ++k) good[k] &= is_good(x[i + k]);
  for (; i < n; ++i) good[0] &= is_good(x[i]);
  return std::all_of(good, good + turn, [](int each) { return each != 0; });
}

// Whether every row adds up to 1, beyond doubt: losses.py allows a little more.
template <class T, class U>
bool add_up(const U* x, std::size_t rows, std::size_t cols) {
  for (; rows > 0; --rows, x += cols) {
    double sum = 0;
    for (std::size_t c = 0; c < cols; ++c)
      sum += static_cast<double>(static_cast<T>(x[c]));
    if (!(std::abs(sum - 1) < 0.9e-3)) return false;
  }
  return true;
}

// The loss and optimizer of the last call, which are mostly those of the next: their
// tuples are parsed again only when they are others. Threads may evaluate one net by
// several losses: `owner` is locked where no GIL keeps them apart.
template <class Choice, Choice (*parse)(py::handle)>
class Parsed {
 public:
  Choice operator()(py::handle core, py::handle owner) {
    const py::scoped_critical_section alone(owner);
    if (!core.is(core_)) {
      choice_ = parse(core);
      core_ = py::reinterpret_borrow<py::object>(core);
    }
    return choice_;
  }

 private:
  py::object core_;
  Choice choice_{};
};

class PyNetwork {
 private:
  using Networks =
      std::variant<std::unique_ptr<Network<float>>, std::unique_ptr<Network<double>>>;

  static Networks make(const py::sequence& layers, std::size_t features,
                       py::handle parameters, py::handle gradient, std::size_t first) {
    return in_precision(
        is_double_array("parameters", parameters), [&](auto type) -> Networks {
          using T = decltype(type);
          typename Network<T>::Layers made;
          std::size_t width = features;
          for (py::handle layer : layers) {
            made.push_back(layer_of<T>(layer, width));
            width = made.back()->outputs;
          }
          const auto size = static_cast<std::size_t>(
              PyArray_SIZE(reinterpret_cast<PyArrayObject*>(parameters.ptr())));
          auto network = std::make_unique<Network<T>>(
              std::move(made), in_place<T>("parameters", parameters, size),
              in_place<T>("gradient", gradient, size), first);
          if (network->size() != size)
            throw py::value_error("parameters must be those of the layers");
          return network;
        });
  }

  template <class Function>
  auto visit(Function f) {
    if (auto* single = std::get_if<0>(&network_)) return f(**single, float{});
    return f(*std::get<1>(network_), double{});
  }

 public:
  PyNetwork(const py::sequence& layers, std::size_t features, std::uint64_t seed,
            py::object parameters, py::object gradient, std::size_t first)
      : seed_(seed),
        parameters_(parameters),
        network_(make(layers, features, parameters, gradient, first)) {
    for (py::handle layer : layers) kept_.append(layer);
    kept_.append(gradient);
  }

  // Whether inputs, targets and weights are such, as they lie in memory, that train()
  // needs no other check of them. False says nothing: Python looks again, and tells.
  bool takes(py::handle x, py::handle y, py::handle weights, py::handle loss,
             py::handle bounds) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      constexpr double infinity = std::numeric_limits<double>::infinity();
      const auto extent = [](PyArrayObject* array, int i) {
        return static_cast<std::size_t>(PyArray_DIM(array, i));
      };
      std::size_t n = 0;
      const auto are_inputs = [&](PyArrayObject* rows, const auto* values) {
        if (PyArray_NDIM(rows) != 2 || extent(rows, 1) != net.features()) return false;
        n = extent(rows, 0);
        return n > 0 && all_within<T>(values, n * net.features(), -infinity, infinity);
      };
      const auto are_targets = [&](PyArrayObject* targets, const auto* values) {
        constexpr bool whole = std::is_integral_v<std::decay_t<decltype(*values)>>;
        const int dimensions = PyArray_NDIM(targets);
        const std::size_t outputs = net.outputs(), size = n * outputs;
        if (dimensions < 1 || extent(targets, 0) != n) return false;
        const bool categorical =
            loss_(loss, parameters_).kind == LossKind::softmax_cross_entropy;
        if (categorical && dimensions == 1)
          return whole &&
                 all_within<double>(values, n, 0, static_cast<double>(outputs) - 1);
        const bool column = dimensions == 1 && outputs == 1;
        if (!column && (dimensions != 2 || extent(targets, 1) != outputs)) return false;
        if (categorical)
          return outputs > 1 && all_within<T>(values, size, 0, infinity) &&
                 add_up<T>(values, n, outputs);
        const auto [low, high] = py::cast<std::pair<double, double>>(bounds);
        return all_within<T>(values, size, low, high);
      };
      const auto are_weights = [&](PyArrayObject* array, const auto* values) {
        return PyArray_NDIM(array) == 1 && extent(array, 0) == n &&
               all_within<T>(values, n, -infinity, infinity);
      };
      return of_plain(x, are_inputs) && of_plain(y, are_targets) &&
             (weights.is_none() || of_plain(weights, are_weights));
    });
  }

  // (loss, correct, penalty, rows, steps, finite, error): sums over the rows of the
  // steps taken and what was before, whether norms to clip by were finite, and the
  // exception that ended it early, or None: what a signal's handler raised, labels
  // changed meanwhile.
  py::tuple train(py::handle x, py::handle y, py::handle weights, py::handle order,
                  std::size_t batch, py::handle loss, bool logits, py::handle optimizer,
                  py::handle rates, py::handle decays, py::handle shares,
                  py::handle state, py::handle average, double ema, std::uint64_t step,
                  std::uint64_t update, double loss_before, double correct_before,
                  double penalty_before, py::handle precision) {
    const Products products = this->products(precision);
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal = this->template goal<T>(loss, logits);
      const Data<T> data(net, goal.loss, x, y, weights);
      const OptimizerChoice rule = optimizer_(optimizer, parameters_);
      require_numbers<T>(rule);
      std::size_t count = data.examples.rows;
      const std::int64_t* rows = nullptr;
      if (!order.is_none()) {
        auto* array = reinterpret_cast<PyArrayObject*>(order.ptr());
        if (!PyArray_Check(order.ptr()) || PyArray_TYPE(array) != NPY_INT64 ||
            PyArray_NDIM(array) != 1 || !PyArray_ISCARRAY_RO(array))
          throw py::type_error("rows must be a contiguous int64 array (n,)");
        count = static_cast<std::size_t>(PyArray_SIZE(array));
        rows = static_cast<const std::int64_t*>(PyArray_DATA(array));
      }
      if (batch < 1) throw py::value_error("batch_size must be >= 1, got 0");
      const std::size_t steps = (count + batch - 1) / batch;
      const Paces paces{.rates = in_place<double>("rates", rates, steps),
                        .decays = decays.is_none()
                                      ? nullptr
                                      : in_place<double>("decays", decays, steps),
                        .decay = rule.weight_decay};
      for (std::size_t i = 0; i < steps; ++i) {
        held<T>("learning_rate", paces[i].rate);
        held<T>("weight_decay", paces[i].decay);
      }
      const Average<T> mean{
          average.is_none() ? nullptr : in_place<T>("average", average, net.size()),
          1 - ema};
      const Draw draw = this->draw(net, step, 0, true, shares, steps);
      T* memory = in_place<T>("state", state, slots(rule) * net.size());
      Scores scores{
          .loss = loss_before, .correct = correct_before, .penalty = penalty_before};
      py::object error = py::none();
      const auto work = [&] {
        net.train(data.examples, rows, count, batch, goal, products, draw, rule, paces,
                  update, memory, mean, scores);
      };
      try {
        run_to_border(count * net.work(), work);
      } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
      } catch (const std::logic_error& wrong) {
        PyErr_SetString(PyExc_ValueError, wrong.what());
      }
      if (PyErr_Occurred()) error = py::error_already_set().value();
      return py::make_tuple(scores.loss, scores.correct, scores.penalty, scores.rows,
                            scores.steps, scores.finite, error);
    });
  }

  // Whether steps of so many rows have products in bfloat16.
  bool is_narrow(std::size_t rows, py::handle precision) {
    return visit(
        [&](auto& net, auto) { return net.is_narrow(rows, products(precision)); });
  }

  py::tuple gradients(py::handle x, py::handle y, py::handle weights, py::handle loss,
                      bool logits, double weight, std::uint64_t step,
                      std::uint64_t first_row, bool accumulate, py::handle shares) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal = this->template goal<T>(loss, logits);
      held<T>("weight", weight);
      const Data<T> data(net, goal.loss, x, y, weights);
      const Draw draw = this->draw(net, step, first_row, true, shares);
      Scores scores;
      run(data.examples.rows * net.work(), [&] {
        scores = net.gradients(data.examples, goal, draw, weight, accumulate);
      });
      return py::make_tuple(scores.loss, scores.correct, scores.penalty);
    });
  }

  // Whether the gradients of shards of so many rows can be had by one call.
  bool adds_shards(std::size_t rows) {
    return visit([&](auto& net, auto) { return net.adds_shards(rows); });
  }

  // (loss, correct, penalty) of each shard, rows borders[i] to borders[i + 1] of a
  // batch whose x begins at the first.
  py::list shard_gradients(py::handle x, py::handle y, py::handle weights,
                           py::handle loss, bool logits, std::size_t batch,
                           const py::sequence& given, std::uint64_t step,
                           py::handle shares) {
    std::vector<std::size_t> borders;
    for (py::handle each : given) borders.push_back(py::cast<std::size_t>(each));
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      if (borders.size() < 2) throw py::value_error("borders must be of a shard");
      const Shards shards{borders.data(), borders.size() - 1};
      std::size_t least = batch;
      for (std::size_t i = 0; i < shards.count; ++i) {
        if (borders[i] >= borders[i + 1] || borders[i + 1] > batch)
          throw py::value_error("borders must rise to at most the rows of the batch");
        least = std::min(least, shards.rows(i));
      }
      const Goal goal = this->template goal<T>(loss, logits);
      const Data<T> data(net, goal.loss, x, y, weights);
      if (data.examples.rows != shards.begin(shards.count) || data.inputs.sparse ||
          !net.adds_shards(least))
        throw py::value_error("x must have the rows of shards that can be added");
      const Draw draw = this->draw(net, step, borders[0], true, shares);
      std::vector<Scores> scores(shards.count);
      run(data.examples.rows * net.work(), [&] {
        net.gradients(data.examples, goal, draw, batch, shards, scores.data());
      });
      py::list sums;
      for (const Scores& each : scores)
        sums.append(py::make_tuple(each.loss, each.correct, each.penalty));
      return sums;
    });
  }

  // The gradient by x, or None if `down` does not ask for it.
  py::object backward(py::handle x, py::handle dy, bool training, std::uint64_t step,
                      std::uint64_t first_row, bool fill, bool accumulate, bool down,
                      py::handle shares) {
    return visit([&](auto& net, auto type) -> py::object {
      using T = decltype(type);
      Argument rows("x", x), slopes("output_gradient", dy);
      const std::size_t n = rows_of(net, rows);
      slopes.require_shape({n, net.outputs()}, "that of the outputs");
      const T* data = rows.template contiguous<T>();
      const T* given = slopes.template contiguous<T>();
      const bool is_double = std::is_same_v<T, double>;
      Output dx("dx", py::none(), is_double, {down ? n : 0, net.features()}, {});
      const Draw draw = this->draw(net, step, first_row, training, shares);
      run(n * net.work(), [&] {
        net.backward(data, n, given, draw, training, fill, accumulate,
                     down ? dx.data<T>() : nullptr);
      });
      return down ? dx.result() : py::none();
    });
  }

  // Of the mean loss.
  py::object input_gradient(py::handle x, py::handle y, py::handle weights,
                            py::handle loss, bool logits, bool training,
                            std::uint64_t step, py::handle shares) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal = this->template goal<T>(loss, logits);
      const Data<T> data(net, goal.loss, x, y, weights);
      if (data.inputs.sparse)
        throw py::type_error("x must be an array, got sparse rows");
      const bool is_double = std::is_same_v<T, double>;
      Output dx("dx", py::none(), is_double, {data.examples.rows, net.features()}, {});
      const Draw draw = this->draw(net, step, 0, training, shares);
      run(data.examples.rows * net.work(), [&] {
        net.input_gradient(data.examples, goal, draw, training, dx.data<T>());
      });
      return dx.result();
    });
  }

  // The output of a pass, which is x itself if nothing changes.
  py::object forward(py::handle x, bool training, std::uint64_t step,
                     std::uint64_t first_row, py::handle shares) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      Argument rows("x", x);
      const std::size_t n = rows_of(net, rows);
      const T* data = rows.template contiguous<T>();
      Output y("y", py::none(), std::is_same_v<T, double>, {n, net.outputs()}, {});
      const Draw draw = this->draw(net, step, first_row, training, shares);
      bool same = false;
      run(n * net.work(),
          [&] { same = net.forward(data, n, draw, training, y.data<T>()); });
      return same ? py::reinterpret_borrow<py::object>(x) : y.result();
    });
  }

  void release() {
    visit([](auto& net, auto) { net.release(); });
  }

  bool apply(py::handle optimizer, double rate, py::handle state,
             std::uint64_t update) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const OptimizerChoice rule = optimizer_(optimizer, parameters_);
      require_numbers<T>(rule);
      held<T>("learning_rate", rate);
      T* memory = in_place<T>("state", state, slots(rule) * net.size());
      bool finite = true;
      run_wholly(net.size(), [&] { finite = net.apply(rule, rate, update, memory); });
      return finite;
    });
  }

  // Of the parameters from begin to before end, where updates_apart().
  void apply_part(py::handle optimizer, double rate, py::handle state,
                  std::uint64_t update, std::size_t begin, std::size_t end) {
    visit([&](auto& net, auto type) {
      using T = decltype(type);
      const OptimizerChoice rule = optimizer_(optimizer, parameters_);
      require_numbers<T>(rule);
      held<T>("learning_rate", rate);
      if (!net.updates_apart(rule) || begin > end || end > net.size())
        throw py::value_error("parts must be of parameters that are updated apart");
      T* memory = in_place<T>("state", state, slots(rule) * net.size());
      run_wholly(end - begin,
                 [&] { net.apply(rule, rate, update, memory, begin, end); });
    });
  }
  bool updates_apart(py::handle optimizer) {
    const OptimizerChoice rule = optimizer_(optimizer, parameters_);
    return visit([&](auto& net, auto) { return net.updates_apart(rule); });
  }

  py::object predict(py::handle x, py::handle out, std::size_t chunk,
                     py::handle precision) {
    const Bfloat16Kernels* const bfloat16 =
        precision.is_none() ? nullptr : packing(precision);
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      if (bfloat16 && std::is_same_v<T, double>)
        throw py::value_error("precision must be 'float32' for a net of float64");
      const Inputs<T> in(net, x);
      const Argument weights("parameters", parameters_);
      Output y("out", out, std::is_same_v<T, double>, {in.rows, net.outputs()},
               {in.array ? &*in.array : &in.held->values(), &weights});
      run(in.rows * net.work(),
          [&] { net.predict(in.x, in.sparse, in.rows, chunk, bfloat16, y.data<T>()); });
      return y.result();
    });
  }

  py::tuple evaluate(py::handle x, py::handle y, py::handle weights, py::handle loss,
                     bool logits, std::size_t chunk) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal = this->template goal<T>(loss, logits);
      const Data<T> data(net, goal.loss, x, y, weights);
      Scores scores;
      run(data.examples.rows * net.work(),
          [&] { scores = net.evaluate(data.examples, goal, chunk); });
      return py::make_tuple(scores.loss, scores.correct, scores.penalty);
    });
  }

  py::tuple sample(py::handle x, std::size_t samples, std::uint64_t seed,
                   std::size_t chunk, py::handle shares) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      Argument rows("x", x);
      const std::size_t n = rows_of(net, rows);
      const T* data = rows.template contiguous<T>();
      const bool is_double = std::is_same_v<T, double>;
      Output mean("mean", py::none(), is_double, {n, net.outputs()}, {});
      Output deviation("deviation", py::none(), is_double, {n, net.outputs()}, {});
      Draw draw = this->draw(net, 0, 0, true, shares);
      draw.seed = seed;
      run(n * samples * net.work(), [&] {
        net.sample(data, n, chunk, samples, draw, mean.data<T>(), deviation.data<T>());
      });
      return py::make_tuple(mean.result(), deviation.result());
    });
  }

 private:
  // None is the net's own type, and so is "auto" where that is double.
  Products products(py::handle precision) const {
    if (precision.is_none()) return {};
    const Bfloat16Kernels* const bfloat16 = packing(precision);
    const bool all = bfloat16 && py::cast<std::string_view>(precision) == "bf16";
    if (network_.index() == 0) return {bfloat16, all};
    if (all) throw py::value_error("precision 'bf16' needs a net of float32");
    return {};
  }

  // Layers that go by a schedule need their shares in each of the steps.
  template <class T>
  Draw draw(const Network<T>& net, std::uint64_t step, std::uint64_t first_row,
            bool training, py::handle shares, std::size_t steps = 1) const {
    Draw draw{seed_, step, first_row};
    if (training && net.scheduled())
      draw.shares = in_place<double>("shares", shares, steps * net.places());
    return draw;
  }

  // ValueError unless T holds its numbers.
  template <class T>
  Goal goal(py::handle core, bool logits) {
    const Goal goal{loss_(core, parameters_), logits, per_weight(core)};
    require_option<T>(goal.loss);
    held<T>("factor", goal.per_weight);
    return goal;
  }

  // As run(), but work stops by itself where it is interrupted: what it did is kept,
  // and Python's exception is left set.
  template <class Work>
  static void run_to_border(std::size_t amount, const Work& work) {
    if (amount <= work_worth_releasing) return work();
    const WithoutGil released;
    const Polling polling;
    work();
  }

  std::uint64_t seed_;
  py::object parameters_;
  py::list kept_;  // what the pointers point into
  Parsed<LossChoice, loss_choice> loss_;
  Parsed<OptimizerChoice, optimizer_choice> optimizer_;
  Networks network_;
};

// The penalty of the elements of w; `weight` times its gradient is added to dw, unless
// that is None.
double py_penalty(py::handle w, py::handle dw, double l1, double l2, double weight) {
  return in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const auto n = static_cast<std::size_t>(
        PyArray_SIZE(reinterpret_cast<PyArrayObject*>(w.ptr())));
    held<T>("l1", l1);
    held<T>("l2", l2);
    held<T>("weight", weight);
    T* const gradient = dw.is_none() ? nullptr : in_place<T>("dw", dw, n);
    return penalty<T>(in_place<T>("w", w, n), gradient, n, l1, l2, weight);
  });
}

}  // namespace

void register_network(py::module_& m) {
  py::list kinds;
  for (const Kind& kind : Kind::all()) kinds.append(kind.name);
  kinds.attr("sort")();
  m.attr("LAYERS") = py::tuple(kinds);
  py::class_<PyNetwork>(m, "Network")
      .def(py::init<const py::sequence&, std::size_t, std::uint64_t, py::object,
                    py::object, std::size_t>(),
           py::arg("layers"), py::arg("features"), py::arg("seed"),
           py::arg("parameters"), py::arg("gradient"), py::arg("first") = 0)
      .def("takes", &PyNetwork::takes)
      .def("train", &PyNetwork::train)
      .def("is_narrow", &PyNetwork::is_narrow)
      .def("gradients", &PyNetwork::gradients)
      .def("adds_shards", &PyNetwork::adds_shards)
      .def("shard_gradients", &PyNetwork::shard_gradients)
      .def("forward", &PyNetwork::forward)
      .def("backward", &PyNetwork::backward)
      .def("input_gradient", &PyNetwork::input_gradient)
      .def("release", &PyNetwork::release)
      .def("apply", &PyNetwork::apply)
      .def("apply_part", &PyNetwork::apply_part)
      .def("updates_apart", &PyNetwork::updates_apart)
      .def("predict", &PyNetwork::predict, py::arg("x"), py::arg("out"),
           py::arg("chunk"), py::arg("precision") = py::none())
      .def("evaluate", &PyNetwork::evaluate)
      .def("sample", &PyNetwork::sample);
  m.def("penalty", py_penalty);
}

}  // namespace lamina
