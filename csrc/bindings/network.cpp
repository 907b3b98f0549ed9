// Network as Python sees it: a net's layers, bound to its two flat buffers.
#include <algorithm>
#include <bit>
#include <string>
#include <variant>

#include "bindings/activation_function.hpp"
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"
#include "bindings/losses.hpp"
#include "bindings/optimizers.hpp"
#include "bindings/packed.hpp"
#include "network/network.hpp"

namespace lamina {

namespace {

// An item of the tuples that lamina.layers make: a kind, then what it is made of.
struct Item : py::object {
  Item(const py::tuple& layer, std::size_t i) : py::object(layer[i]) {}
  double number() const { return cast<double>(); }
  std::size_t size() const { return cast<std::size_t>(); }
};

template <class T>
Layer<T> layer_of(const py::tuple& description, std::size_t inputs) {
  using Kind = typename Layer<T>::Kind;
  const std::string kind = py::str(description[0]);
  const auto item = [&](std::size_t i) -> Item { return {description, i}; };
  Layer<T> layer{};
  layer.inputs = layer.outputs = inputs;
  if (kind == "standardize") {
    layer.kind = Kind::standardize;
    layer.mean = in_place<T>("mean", item(1), inputs);
    layer.scale = in_place<T>("scale", item(2), inputs);
  } else if (kind == "dense") {
    layer.kind = Kind::dense;
    layer.outputs = item(1).size();
    layer.activation = activation_choice(item(2));
    layer.kernel = item(3).size();
    layer.bias = item(4).is_none() ? Layer<T>::none : item(4).size();
    layer.l1 = held<T>("l1", item(5).number());
    layer.l2 = held<T>("l2", item(6).number());
    if (!item(7).is_none()) layer.max_norm = item(7).number();
  } else if (kind == "activation") {
    layer.kind = Kind::activation;
    layer.activation = activation_choice(item(1));
  } else if (kind == "dropout") {
    layer.kind = Kind::dropout;
    layer.rate = item(1).number();
    layer.mode = dropout_mode(item(2));
  } else if (kind == "noise") {
    layer.kind = Kind::noise;
    layer.rate = held<T>("stddev", item(1).number());
  } else {
    throw py::value_error("unknown kind of layer " + kind);
  }
  require_parameter(layer.activation, std::is_same_v<T, double>);
  return layer;
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

// Arrays of examples in the net's type; they live as long as this does.
template <class T>
struct Data {
  Argument x, targets;
  py::object weight_array, label_array;
  Examples<T> examples{};

  Data(const Network<T>& net, const LossChoice& loss, py::handle rows, py::handle y,
       py::handle weights)
      : x("x", rows), targets("y", y) {
    const std::size_t n = examples.rows = rows_of(net, x);
    examples.x = x.template contiguous<T>();
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
      targets.require_shape({n, net.outputs()}, "that of the outputs");
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

template <class T>
bool all_finite(const T* x, std::size_t n) {
  using Bits =
      std::conditional_t<std::is_same_v<T, float>, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent =
      std::is_same_v<T, float> ? Bits{0x7f800000u} : static_cast<Bits>(0x7ffull << 52);
  const auto is_bad = [x](std::size_t i) {
    return static_cast<Bits>(-((std::bit_cast<Bits>(x[i]) & exponent) == exponent));
  };
  constexpr std::size_t turn = 16;  // which the compiler makes a vector of
  Bits bad[turn] = {};
  std::size_t i = 0;
  for (; i + turn <= n; i += turn)
    for (std::size_t k = 0; k < turn; ++k) bad[k] |= is_bad(i + k);
  for (; i < n; ++i) bad[0] |= is_bad(i);
  return std::none_of(bad, bad + turn, [](Bits b) { return b != 0; });
}

// The loss and optimizer of the last call, which are mostly those of the next: their
// tuples are parsed again only when they are others.
template <class Choice, Choice (*parse)(py::handle)>
class Parsed {
 public:
  const Choice& operator()(py::handle core) {
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
                       py::handle parameters, py::handle gradient) {
    return in_precision(
        is_double_array("parameters", parameters), [&](auto type) -> Networks {
          using T = decltype(type);
          std::vector<Layer<T>> made;
          std::size_t width = features;
          for (py::handle layer : layers) {
            made.push_back(layer_of<T>(py::cast<py::tuple>(layer), width));
            width = made.back().outputs;
          }
          const auto size = static_cast<std::size_t>(
              PyArray_SIZE(reinterpret_cast<PyArrayObject*>(parameters.ptr())));
          auto network = std::make_unique<Network<T>>(
              std::move(made), in_place<T>("parameters", parameters, size),
              in_place<T>("gradient", gradient, size));
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
            py::object parameters, py::object gradient)
      : seed_(seed),
        parameters_(parameters),
        network_(make(layers, features, parameters, gradient)) {
    for (py::handle layer : layers) kept_.append(layer);
    kept_.append(gradient);
  }

  // Whether x and y are finite inputs and labels as they lie in memory, so that train()
  // needs no other check of them.
  bool takes(py::handle x, py::handle y) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const auto is_plain = [](py::handle value, int number, int dimensions) {
        auto* array = reinterpret_cast<PyArrayObject*>(value.ptr());
        return PyArray_CheckExact(value.ptr()) && PyArray_TYPE(array) == number &&
               PyArray_NDIM(array) == dimensions && PyArray_ISCARRAY_RO(array);
      };
      if (!is_plain(x, std::is_same_v<T, float> ? NPY_FLOAT : NPY_DOUBLE, 2) ||
          !is_plain(y, NPY_INT64, 1))
        return false;
      auto* rows = reinterpret_cast<PyArrayObject*>(x.ptr());
      auto* labels = reinterpret_cast<PyArrayObject*>(y.ptr());
      const auto size = static_cast<std::size_t>(PyArray_SIZE(rows));
      return PyArray_DIM(rows, 0) == PyArray_DIM(labels, 0) && size > 0 &&
             static_cast<std::size_t>(PyArray_DIM(rows, 1)) == net.features() &&
             all_finite(static_cast<const T*>(PyArray_DATA(rows)), size);
    });
  }

  // (loss, correct, rows, steps, finite, error): sums over the rows of the steps taken
  // and what was before, whether norms to clip by were finite, and the exception that
  // ended it early, or None: what a signal's handler raised, labels changed meanwhile.
  py::tuple train(py::handle x, py::handle y, py::handle weights, py::handle order,
                  std::size_t batch, py::handle loss, bool logits, py::handle optimizer,
                  py::handle rates, py::handle state, std::uint64_t step,
                  std::uint64_t update, double loss_before, double correct_before) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal{loss_(loss), logits};
      require_option<T>(goal.loss);
      const Data<T> data(net, goal.loss, x, y, weights);
      const OptimizerChoice rule = optimizer_(optimizer);
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
      const double* rate = in_place<double>("rates", rates, steps);
      for (std::size_t i = 0; i < steps; ++i) held<T>("learning_rate", rate[i]);
      T* memory = in_place<T>("state", state, slots(rule) * net.size());
      Scores scores{.loss = loss_before, .correct = correct_before};
      py::object error = py::none();
      const auto work = [&] {
        net.train(data.examples, rows, count, batch, goal, {seed_, step, 0}, rule, rate,
                  update, memory, scores);
      };
      try {
        run_to_border(count * net.work(), work);
      } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
      } catch (const std::logic_error& wrong) {
        PyErr_SetString(PyExc_ValueError, wrong.what());
      }
      if (PyErr_Occurred()) error = py::error_already_set().value();
      return py::make_tuple(scores.loss, scores.correct, scores.rows, scores.steps,
                            scores.finite, error);
    });
  }

  py::tuple gradients(py::handle x, py::handle y, py::handle weights, py::handle loss,
                      bool logits, double weight, std::uint64_t step,
                      std::uint64_t first_row, bool accumulate) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal{loss_(loss), logits};
      require_option<T>(goal.loss);
      held<T>("weight", weight);
      const Data<T> data(net, goal.loss, x, y, weights);
      Scores scores;
      run(data.examples.rows * net.work(), [&] {
        scores = net.gradients(data.examples, goal, {seed_, step, first_row}, weight,
                               accumulate);
      });
      return py::make_tuple(scores.loss, scores.correct);
    });
  }

  void release() {
    visit([](auto& net, auto) { net.release(); });
  }

  bool apply(py::handle optimizer, double rate, py::handle state,
             std::uint64_t update) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const OptimizerChoice rule = optimizer_(optimizer);
      require_numbers<T>(rule);
      held<T>("learning_rate", rate);
      T* memory = in_place<T>("state", state, slots(rule) * net.size());
      bool finite = true;
      run_wholly(net.size(), [&] { finite = net.apply(rule, rate, update, memory); });
      return finite;
    });
  }

  py::object predict(py::handle x, py::handle out, std::size_t chunk,
                     py::handle precision) {
    const Bfloat16Kernels* const bfloat16 =
        precision.is_none() ? nullptr : packing(precision);
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      if (bfloat16 && std::is_same_v<T, double>)
        throw py::value_error("precision must be 'float32' for a net of float64");
      Argument rows("x", x);
      const std::size_t n = rows_of(net, rows);
      const T* data = rows.template contiguous<T>();
      const Argument weights("parameters", parameters_);
      Output y("out", out, std::is_same_v<T, double>, {n, net.outputs()},
               {&rows, &weights});
      run(n * net.work(), [&] { net.predict(data, n, chunk, bfloat16, y.data<T>()); });
      return y.result();
    });
  }

  py::tuple evaluate(py::handle x, py::handle y, py::handle weights, py::handle loss,
                     bool logits, std::size_t chunk) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      const Goal goal{loss_(loss), logits};
      require_option<T>(goal.loss);
      const Data<T> data(net, goal.loss, x, y, weights);
      Scores scores;
      run(data.examples.rows * net.work(),
          [&] { scores = net.evaluate(data.examples, goal, chunk); });
      return py::make_tuple(scores.loss, scores.correct);
    });
  }

  py::tuple sample(py::handle x, std::size_t samples, std::uint64_t seed,
                   std::size_t chunk) {
    return visit([&](auto& net, auto type) {
      using T = decltype(type);
      Argument rows("x", x);
      const std::size_t n = rows_of(net, rows);
      const T* data = rows.template contiguous<T>();
      const bool is_double = std::is_same_v<T, double>;
      Output mean("mean", py::none(), is_double, {n, net.outputs()}, {});
      Output deviation("deviation", py::none(), is_double, {n, net.outputs()}, {});
      run(n * samples * net.work(), [&] {
        net.sample(data, n, chunk, samples, {seed, 0, 0}, mean.data<T>(),
                   deviation.data<T>());
      });
      return py::make_tuple(mean.result(), deviation.result());
    });
  }

 private:
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
  py::class_<PyNetwork>(m, "Network")
      .def(py::init<const py::sequence&, std::size_t, std::uint64_t, py::object,
                    py::object>())
      .def("takes", &PyNetwork::takes)
      .def("train", &PyNetwork::train)
      .def("gradients", &PyNetwork::gradients)
      .def("release", &PyNetwork::release)
      .def("apply", &PyNetwork::apply)
      .def("predict", &PyNetwork::predict, py::arg("x"), py::arg("out"),
           py::arg("chunk"), py::arg("precision") = py::none())
      .def("evaluate", &PyNetwork::evaluate)
      .def("sample", &PyNetwork::sample);
  m.def("penalty", py_penalty);
}

}  // namespace lamina
