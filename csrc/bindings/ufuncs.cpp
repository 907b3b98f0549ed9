#include "bindings/ufuncs.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <array>
#include <cfenv>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace lamina {

namespace py = pybind11;

const char* range_text(Range range) {
  switch (range) {
    case Range::nonzero:
      return "a number other than 0";
    case Range::positive:
      return "a positive number";
    case Range::nonnegative:
      return "a number of at least 0";
    default:
      return "a number";
  }
}

// ---- Signals

namespace {
thread_local Listening* listening = nullptr;
}

Listening::Listening()
    : former_(std::exchange(listening, this)),
      former_poll_(set_poll(signals_raise)),
      state_(PyThreadState_Get()) {}

Listening::~Listening() {
  listening = former_;
  set_poll(former_poll_);
}

PyObject* Listening::instead_of(PyObject* made) const {
  if (!raised_) return made;
  Py_XDECREF(made);
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(raised_.ptr())), raised_.ptr());
  return nullptr;
}

bool Listening::stopped(std::size_t elements) {
  Listening* const here = listening;
  if (!here) return false;
  if (here->raised_) return true;
  constexpr std::size_t between_looks = 1 << 16;  // 30 us and more
  constexpr auto between_polls = std::chrono::milliseconds(100);
  here->elements_ += elements;
  if (here->elements_ < between_looks) return false;
  here->elements_ = 0;
  const auto now = std::chrono::steady_clock::now();
  const bool first = here->last_.time_since_epoch().count() == 0;
  if (!first && now - here->last_ < between_polls) return false;
  here->last_ = now;
  return !first && signals_raise();
}

bool Listening::signals_raise() {
  Listening& here = *std::exchange(listening, nullptr);  // not for what a handler calls
  const Poll own = set_poll(nullptr);
  // NumPy keeps it around short loops. (PyGILState_Check says so, too, of every thread
  // when the interpreter has ended.)
  const bool has_gil = py::detail::get_thread_state_unchecked() == here.state_;
  const int raised = taking_gil([&] {
    if (!has_gil) PyEval_RestoreThread(here.state_);
    return PyErr_CheckSignals();
  });
  if (raised) here.raised_ = py::error_already_set().value();
  if (!has_gil) PyEval_SaveThread();
  listening = &here;
  set_poll(own);
  return raised != 0;
}

namespace {

// ---- Inner loops

// Puts the floating-point status back as it was: comparisons with NaN and overflow
// inside a formula must not become a RuntimeWarning of NumPy's.
class KeepFloatStatus {
 public:
#if defined(__x86_64__)
  KeepFloatStatus() : status_(_mm_getcsr()) {}
  ~KeepFloatStatus() { _mm_setcsr(status_); }

 private:
  unsigned status_;
#else
  KeepFloatStatus() { std::fegetexceptflag(&status_, FE_ALL_EXCEPT); }
  ~KeepFloatStatus() { std::fesetexceptflag(&status_, FE_ALL_EXCEPT); }

 private:
  std::fexcept_t status_;
#endif
};

// An operand of an inner loop in pieces that a kernel can read: in place when
// contiguous, filled once when broadcast, gathered otherwise.
template <class T>
class Input {
 public:
  static constexpr npy_intp piece = 512;
  // The step of a single element means nothing.
  Input(const char* data, npy_intp step, npy_intp n)
      : data_(data), step_(n == 1 ? npy_intp{sizeof(T)} : step) {
    if (step_ == 0)
      for (npy_intp i = 0; i < n && i < piece; ++i)
        buffer_[i] = *reinterpret_cast<const T*>(data);
  }
  bool contiguous() const { return step_ == sizeof(T); }
  const T* at(npy_intp start, npy_intp count) {
    if (contiguous()) return reinterpret_cast<const T*>(data_) + start;
    if (step_ != 0 || count == 1)  // a single one may have been written since
      for (npy_intp i = 0; i < count; ++i)
        buffer_[i] = *reinterpret_cast<const T*>(data_ + (start + i) * step_);
    return buffer_;
  }

 private:
  const char* data_;
  npy_intp step_;
  T buffer_[piece];
};

template <class T>
class Result {
 public:
  Result(char* data, npy_intp step, npy_intp n)
      : data_(data), step_(n == 1 ? npy_intp{sizeof(T)} : step) {}
  bool contiguous() const { return step_ == sizeof(T); }
  T* at(npy_intp start) {
    return contiguous() ? reinterpret_cast<T*>(data_) + start : buffer_;
  }
  void done(npy_intp start, npy_intp count) {
    if (contiguous()) return;
    for (npy_intp i = 0; i < count; ++i)
      *reinterpret_cast<T*>(data_ + (start + i) * step_) = buffer_[i];
  }

 private:
  char* data_;
  npy_intp step_;
  T buffer_[Input<T>::piece];
};

// Whether an input reads what an earlier element wrote: in ufunc.reduce and accumulate
// alone, since NumPy copies what overlaps in an ordinary call.
bool feeds_back(char** args, const npy_intp* steps, int output, npy_intp n) {
  if (n < 2) return false;
  if (steps[output] == 0) return true;
  const npy_intp extent =
      (n - 1) * (steps[output] < 0 ? -steps[output] : steps[output]);
  for (int i = 0; i < output; ++i) {
    const npy_intp distance = args[output] - args[i];
    if (distance != 0 && distance <= extent && -distance <= extent) return true;
  }
  return false;
}

template <class T, Pass pass>
void elementwise_kernel(const Kernels<T>& table, std::size_t index,
                        void* const* operands, std::size_t rows, std::size_t cols,
                        T parameter) {
  constexpr std::size_t inputs = pass == Pass::backward ? 2 : 1;
  activate(table, pass, index, static_cast<const T*>(operands[0]),
           static_cast<const T*>(operands[inputs - 1]),
           static_cast<T*>(operands[inputs]), rows * cols, parameter);
}

// `data` is the activation's index in the list. The elements are handled in pieces: all
// at once if they are contiguous; one by one if each depends on the one before, or if a
// caller of the bare ufunc passes an array of parameters.
template <class T, Pass pass, bool has_parameter>
void elementwise_loop(char** args, const npy_intp* dimensions, const npy_intp* steps,
                      void* data) {
  const KeepFloatStatus keep;
  const Kernels<T>& table = kernels<T>();
  const auto index = reinterpret_cast<std::uintptr_t>(data);
  constexpr int inputs = pass == Pass::backward ? 2 : 1;
  constexpr int output = inputs + (has_parameter ? 1 : 0);
  const npy_intp n = dimensions[0];
  Input<T> first(args[0], steps[0], n);
  Input<T> last(args[inputs - 1], steps[inputs - 1], n);
  Result<T> y(args[output], steps[output], n);
  npy_intp piece =
      first.contiguous() && last.contiguous() && y.contiguous() ? n : Input<T>::piece;
  if ((has_parameter && steps[inputs] != 0) || feeds_back(args, steps, output, n))
    piece = 1;
  for (npy_intp start = 0; start < n; start += piece) {
    const npy_intp count = n - start < piece ? n - start : piece;
    if (Listening::stopped(static_cast<std::size_t>(count))) return;
    T parameter = 0;
    if constexpr (has_parameter)
      parameter = *reinterpret_cast<const T*>(args[inputs] + start * steps[inputs]);
    T* const result = y.at(start);
    void* const operands[] = {
        const_cast<T*>(first.at(start, count)),
        inputs == 2 ? const_cast<T*>(last.at(start, count)) : result, result};
    try {
      elementwise_kernel<T, pass>(table, index, operands, 1,
                                  static_cast<std::size_t>(count), parameter);
    } catch (const Interrupted&) {
      return;
    }
    y.done(start, count);
  }
}

template <class T, int inputs>
void row_kernel(const Kernels<T>& table, std::size_t index, void* const* operands,
                std::size_t rows, std::size_t cols, T) {
  activate_rows(table, inputs == 2 ? Pass::backward : Pass::forward, index,
                static_cast<const T*>(operands[0]),
                static_cast<const T*>(operands[inputs - 1]),
                static_cast<T*>(operands[inputs]), rows, cols);
}

// Loop of a generalised ufunc (n)->(n) or (n),(n)->(n): `inputs` + 1 operands, each
// with a stride over rows and one along them. All rows in one call where they lie
// behind each other, else one by one through buffers.
template <class T, int inputs>
void row_loop(char** args, const npy_intp* dimensions, const npy_intp* steps,
              void* data) {
  const KeepFloatStatus keep;
  const npy_intp rows = dimensions[0], cols = dimensions[1];
  if (rows == 0 || cols == 0) return;
  const auto index = reinterpret_cast<std::uintptr_t>(data);
  const Kernels<T>& table = kernels<T>();
  // False where a signal ends the call.
  const auto run = [&](void* const* operand, std::size_t count) {
    const auto size = static_cast<std::size_t>(cols);
    if (Listening::stopped(count * size)) return false;
    try {
      row_kernel<T, inputs>(table, index, operand, count, size, T{});
    } catch (const Interrupted&) {
      return false;
    }
    return true;
  };
  constexpr int operands = inputs + 1;
  constexpr auto item = static_cast<npy_intp>(sizeof(T));
  bool contiguous = true;
  for (int i = 0; i < operands; ++i)
    contiguous &= (steps[operands + i] == item || cols == 1) &&
                  (steps[i] == cols * item || rows == 1);
  if (contiguous) {
    void* operand[operands];
    for (int i = 0; i < operands; ++i) operand[i] = args[i];
    run(operand, static_cast<std::size_t>(rows));
    return;
  }
  const std::unique_ptr<T[]> buffer(new (std::nothrow)
                                        T[static_cast<std::size_t>(operands * cols)]);
  if (!buffer) {  // NumPy asks for errors after the loop
    const auto gil = taking_gil(PyGILState_Ensure);
    PyErr_NoMemory();
    PyGILState_Release(gil);
    return;
  }
  T* operand[operands];
  void* rows_of[operands];
  for (int i = 0; i < operands; ++i) rows_of[i] = operand[i] = buffer.get() + i * cols;
  for (npy_intp row = 0; row < rows; ++row) {
    for (int i = 0; i < inputs; ++i)
      for (npy_intp j = 0; j < cols; ++j)
        operand[i][j] = *reinterpret_cast<const T*>(args[i] + row * steps[i] +
                                                    j * steps[operands + i]);
    if (!run(rows_of, 1)) return;
    for (npy_intp j = 0; j < cols; ++j)
      *reinterpret_cast<T*>(args[inputs] + row * steps[inputs] +
                            j * steps[operands + inputs]) = operand[inputs][j];
  }
}

// ---- Ufuncs

// NumPy keeps pointers to everything it is given: it lives as long as the process.
py::object make_ufunc(PyUFuncGenericFunction f32, PyUFuncGenericFunction f64,
                      int inputs, std::size_t index, const std::string& name,
                      const std::string& doc, const char* signature) {
  struct Kept {
    std::array<PyUFuncGenericFunction, 2> loops;
    std::array<void*, 2> data;
    std::array<char, 8> types;
    std::string name, doc;
  };
  auto* kept = new Kept{{f32, f64}, {}, {}, name, doc};
  kept->data.fill(reinterpret_cast<void*>(index));
  for (int i = 0; i <= inputs; ++i) {
    kept->types[static_cast<std::size_t>(i)] = NPY_FLOAT;
    kept->types[static_cast<std::size_t>(inputs + 1 + i)] = NPY_DOUBLE;
  }
  PyObject* ufunc = PyUFunc_FromFuncAndDataAndSignature(
      kept->loops.data(), kept->data.data(), kept->types.data(), 2, inputs, 1,
      PyUFunc_None, kept->name.c_str(), kept->doc.c_str(), 0, signature);
  if (!ufunc) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(ufunc);
}

template <Pass pass>
Ufunc make_elementwise(std::size_t index, const std::string& name,
                       const std::string& doc) {
  constexpr int inputs = pass == Pass::backward ? 2 : 1;
  const auto make = [&](auto f32, auto f64, int operands) {
    return Ufunc{make_ufunc(f32, f64, operands, index, name, doc, nullptr),
                 elementwise_kernel<float, pass>, elementwise_kernel<double, pass>};
  };
  if (Activations::infos[index].parameter.name)
    return make(elementwise_loop<float, pass, true>,
                elementwise_loop<double, pass, true>, inputs + 1);
  return make(elementwise_loop<float, pass, false>,
              elementwise_loop<double, pass, false>, inputs);
}

template <int inputs>
Ufunc make_row_ufunc(std::size_t index, const std::string& name,
                     const std::string& doc) {
  return {make_ufunc(row_loop<float, inputs>, row_loop<double, inputs>, inputs, index,
                     name, doc, inputs == 1 ? "(n)->(n)" : "(n),(n)->(n)"),
          row_kernel<float, inputs>, row_kernel<double, inputs>};
}

// ---- Documentation

std::string forward_doc(const Info& info, bool by_row) {
  const std::string name = info.name;
  std::string call = name + "(x";
  if (info.parameter.name)
    call += std::string(", ") + info.parameter.name + "=" +
            std::string(py::str(py::float_(info.parameter.initial)));
  std::string doc =
      call + ") = " + info.formula + "\n\nParameters\n----------\n" +
      "x : array_like of float32, float64, float16, bool or integers\n" +
      (by_row ? "    Any shape of one dimension or more.\n" : "    Any shape.\n");
  if (info.parameter.name)
    doc += std::string(info.parameter.name) + " : float, default " +
           std::string(py::str(py::float_(info.parameter.initial))) + "\n    Must be " +
           range_text(info.parameter.range) + ".\n";
  if (by_row)
    doc += "axis : int, default -1\n    The axis along which values sum to 1.\n";
  doc += "out, dtype, casting, order";
  if (!by_row) doc += ", where";
  doc +=
      "\n    As for any NumPy ufunc.\n\nReturns\n-------\nndarray\n    float32 for "
      "float32, "
      "float16, bool and integers of up to 16 bits, else float64.\n";
  const std::string argument = by_row ? "[1.0, 2.0, 3.0]" : "[-1.0, 0.0, 1.0]";
  doc +=
      "\nRaises\n------\nTypeError\n    If x holds complex numbers, strings or "
      "objects.\n"
      "\nExamples\n--------\n>>> import numpy as np\n>>> import lamina as lm\n"
      ">>> y = lm." +
      name + "(np.array(" + argument + "))\n>>> y.shape\n(3,)\n";
  return doc;
}

std::string backward_doc(const Info& info) {
  return "dy times the derivative of " + std::string(info.name) +
         ", in one pass, from what `saves` names: its output y or its input x.";
}

}  // namespace

UfuncTriple elementwise_ufuncs(std::size_t index) {
  const Info& info = Activations::infos[index];
  const std::string name = info.name;
  return {
      make_elementwise<Pass::forward>(index, name, forward_doc(info, false)),
      make_elementwise<Pass::derivative>(index, name + ".derivative",
                                         "The derivative of " + name + " at x."),
      make_elementwise<Pass::backward>(index, name + ".backward", backward_doc(info))};
}

UfuncTriple row_ufuncs(std::size_t index) {
  const Info& info = RowActivations::infos[index];
  const std::string name = info.name;
  return {make_row_ufunc<1>(index, name, forward_doc(info, true)),
          {},
          make_row_ufunc<2>(index, name + ".backward", backward_doc(info))};
}

}  // namespace lamina
