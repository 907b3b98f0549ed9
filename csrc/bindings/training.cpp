// Optimizers, which a training loop calls on its own buffers: arrays that they write to
// must fit exactly.
#include "bindings/arrays.hpp"
#include "bindings/call.hpp"
#include "ops/ops.hpp"

namespace lamina {

namespace {

template <class T>
T* optional_in_place(const char* name, py::handle value, std::size_t size) {
  return value.is_none() ? nullptr : in_place<T>(name, value, size);
}

std::size_t size_of(py::handle array) {
  return static_cast<std::size_t>(
      PyArray_SIZE(reinterpret_cast<PyArrayObject*>(array.ptr())));
}

void py_sgd(py::handle w, py::handle dw, py::handle v, double rate, double momentum,
            bool nesterov) {
  in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(w);
    T* parameters = in_place<T>("w", w, n);
    const T* gradients = in_place<T>("dw", dw, n);
    T* velocity = optional_in_place<T>("v", v, n);
    const auto update = kernels<T>().sgd;
    run(n, [&] {
      parallel_elements(n, 1, [&](std::size_t i, std::size_t size) {
        update(parameters + i, gradients + i, velocity ? velocity + i : nullptr, size,
               rate, momentum, nesterov);
      });
    });
  });
}

void py_adam(py::handle w, py::handle dw, py::handle m, py::handle v, double rate,
             double beta1, double beta2, double epsilon, double correction1,
             double correction2) {
  in_precision(is_double_array("w", w), [&](auto type) {
    using T = decltype(type);
    const std::size_t n = size_of(w);
    T* parameters = in_place<T>("w", w, n);
    const T* gradients = in_place<T>("dw", dw, n);
    T* mean = in_place<T>("m", m, n);
    T* square = in_place<T>("v", v, n);
    const auto update = kernels<T>().adam;
    run(n, [&] {
      parallel_elements(n, 2, [&](std::size_t i, std::size_t size) {
        update(parameters + i, gradients + i, mean + i, square + i, size, rate, beta1,
               beta2, epsilon, correction1, correction2);
      });
    });
  });
}

}  // namespace

void register_training(py::module_& m) {
  m.def("sgd", py_sgd);
  m.def("adam", py_adam);
}

}  // namespace lamina
