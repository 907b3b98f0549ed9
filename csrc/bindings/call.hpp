// How a bound function runs its kernels, and what the other files add to the module.
#pragma once

#include <string>

#include "bindings/numpy.hpp"
#include "ops/ops.hpp"

namespace lamina {

// Releasing and taking the GIL costs 30 to 40 ns: 1 % of about 4 us, the time of this
// many multiply-adds or element operations.
inline constexpr std::size_t work_worth_releasing = 200000;

// While it lives, this thread does without the GIL.
class WithoutGil {
 public:
  WithoutGil() { leave(); }
  ~WithoutGil() { come_back(); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

  static void leave() { state_ = PyEval_SaveThread(); }
  static void come_back() {
    taking_gil([] {
      PyEval_RestoreThread(state_);
      return 0;
    });
  }

 private:
  static inline thread_local PyThreadState* state_ = nullptr;
};

// While it lives, work of this thread, which is without the GIL, looks for signals,
// whose handlers may raise.
class Polling {
 public:
  Polling() : former_(set_poll(signals_raise)) {}
  ~Polling() { set_poll(former_); }
  Polling(const Polling&) = delete;
  Polling& operator=(const Polling&) = delete;

 private:
  static bool signals_raise() {
    const Poll own = set_poll(nullptr);  // not for what a handler calls
    WithoutGil::come_back();
    const int raised = taking_gil(PyErr_CheckSignals);
    WithoutGil::leave();
    set_poll(own);
    return raised != 0;
  }
  Poll former_;
};

// Ctrl-C is heard in long work: then this throws what its handler raised.
template <class Work>
void run(std::size_t amount, Work work) {
  if (amount <= work_worth_releasing) return work();
  try {
    const WithoutGil released;
    const Polling polling;
    work();
  } catch (const Interrupted&) {
    throw pybind11::error_already_set();
  }
}

// The same for what must not stop half-way.
template <class Work>
void run_wholly(std::size_t amount, Work work) {
  if (amount <= work_worth_releasing) return work();
  const WithoutGil released;
  work();
}

// Calls f(float{}) or f(double{}): the type in which a function computes.
template <class Function>
auto in_precision(bool is_double, Function f) {
  return is_double ? f(double{}) : f(float{});
}

// Runs f, which may throw, where Python calls a C function.
template <class F>
PyObject* guarded(F f) {
  try {
    pybind11::object result = f();
    return result.release().ptr();
  } catch (pybind11::error_already_set& error) {
    error.restore();
  } catch (const pybind11::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// Without pybind11's casts, which take longer than a small loss.
inline double number_of(pybind11::handle value) {
  const double number = PyFloat_AsDouble(value.ptr());
  if (number == -1 && PyErr_Occurred()) throw pybind11::error_already_set();
  return number;
}

// A function whose arguments come by position alone, the later ones None if they are
// not given: where the call is most of the work, pybind11's dispatcher takes half of
// it.
struct Positional {
  const char* name;
  const char* signature;  // as inspect reads it: "name($module, a, b, /)\n--\n\n"
  pybind11::object (*call)(const pybind11::handle*);
  Py_ssize_t least, most;
};

template <const Positional& function>
PyObject* call_positional(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([=] {
    constexpr Py_ssize_t least = function.least, most = function.most;
    if (count < least || count > most)
      throw pybind11::type_error(function.name + std::string("() takes ") +
                                 (least < most ? std::to_string(least) + " to " : "") +
                                 std::to_string(most) + " arguments, got " +
                                 std::to_string(count));
    pybind11::handle values[most];
    for (Py_ssize_t i = 0; i < most; ++i) values[i] = i < count ? args[i] : Py_None;
    return function.call(values);
  });
}

template <const Positional& function>
void define(pybind11::module_& module) {
  const auto call = reinterpret_cast<void (*)()>(call_positional<function>);
  static PyMethodDef methods[] = {{function.name, reinterpret_cast<PyCFunction>(call),
                                   METH_FASTCALL, function.signature},
                                  {}};
  if (PyModule_AddFunctions(module.ptr(), methods) < 0)
    throw pybind11::error_already_set();
}

// The names of a list of the core's.
template <std::size_t n>
pybind11::tuple names_of(const char* const (&names)[n]) {
  pybind11::tuple made(n);
  for (std::size_t i = 0; i < n; ++i) made[i] = names[i];
  return made;
}

// "inverted", "classic" or "alpha", else ValueError.
DropoutMode dropout_mode(pybind11::handle mode);

// matmul, dense, dropout and their backward; random words.
void register_functions(pybind11::module_& module);

// Whole nets.
void register_network(pybind11::module_& module);

}  // namespace lamina
