// The machine's limit as calls: so many multiplications, so many bytes moved, by the
// simplest loops that reach what one core can do at all. Nothing is computed.
//
//   multiply(flops, itemsize)  fused multiply-adds, each counted as two
//   move(bytes, read, updated, written, more)  so many arrays of `bytes`, and one of
//       `more` bytes that is read
//
// each make a call without arguments or result. Long calls release Python's lock.

#include <Python.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <new>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

#if defined __AVX512F__
constexpr int width = 64;
#elif defined __AVX__
constexpr int width = 32;
#else
constexpr int width = 16;
#endif

template <typename T>
using Vector [[gnu::vector_size(width), gnu::may_alias]] = T;
using Bits = Vector<long long>;

// Calls -------------------------------------------------------------------------------

struct Work {
  virtual void run() = 0;
  virtual ~Work() = default;
  bool lasts = false;  // longer than it takes to release the lock
};

Work* work_of(PyObject* capsule) {
  return static_cast<Work*>(PyCapsule_GetPointer(capsule, nullptr));
}

PyObject* call(PyObject* capsule, PyObject*) {
  Work* work = work_of(capsule);
  PyThreadState* state = work->lasts ? PyEval_SaveThread() : nullptr;
  work->run();
  if (state) PyEval_RestoreThread(state);
  Py_RETURN_NONE;
}

PyMethodDef call_method = {"call", call, METH_NOARGS, nullptr};

PyObject* make_call(Work* work) {
  PyObject* capsule =
      PyCapsule_New(work, nullptr, [](PyObject* o) { delete work_of(o); });
  if (!capsule) return nullptr;
  PyObject* function = PyCFunction_New(&call_method, capsule);
  Py_DECREF(capsule);
  return function;
}

// Multiplications ---------------------------------------------------------------------

// Of independent sums: as many as hide the latency of an addition, two of 4 cycles at
// once, and fit 16 registers.
constexpr int sums = 12;

template <typename T>
struct Multiply final : Work {
  long steps;
  Vector<T> factor{}, offset{};

  explicit Multiply(double flops) {
    constexpr double step = 2.0 * sums * width / sizeof(T);
    steps = static_cast<long>(flops / step + 0.5);
    lasts = flops > 1e6;
  }

  void run() override {
    Vector<T> a[sums];
    asm volatile("" : "=m"(a));  // anything; sums known to be equal would become one
    const Vector<T> b = factor, c = offset;
    for (long i = steps; i > 0; --i) {
#pragma GCC unroll 16
      for (int j = 0; j < sums; ++j) a[j] = a[j] * b + c;
    }
    asm volatile("" : : "m"(a));
  }
};

PyObject* multiply(PyObject*, PyObject* arguments) {
  double flops;
  int itemsize;
  if (!PyArg_ParseTuple(arguments, "di", &flops, &itemsize)) return nullptr;
  if (itemsize == sizeof(float)) return make_call(new Multiply<float>(flops));
  return make_call(new Multiply<double>(flops));
}

// Bytes -------------------------------------------------------------------------------

template <bool Streamed>
void store(Bits* to, Bits value) {
#ifdef __x86_64__
  if constexpr (Streamed) {
#if defined __AVX512F__
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to), (__m512i)value);
#elif defined __AVX__
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), (__m256i)value);
#else
    _mm_stream_si128(reinterpret_cast<__m128i*>(to), (__m128i)value);
#endif
    return;
  }
#endif
  *to = value;
}

using Mover = void(std::byte*, size_t, size_t);

// Arrays of `bytes` lie `stride` apart: those read, those updated, those written.
template <int Read, int Updated, int Written, bool Streamed = false>
void move_arrays(std::byte* arrays, size_t stride, size_t bytes) {
  Bits all = {};
#pragma GCC unroll 4
  for (size_t i = 0; i < bytes; i += width) {
    auto vector = [=](int array) {
      return reinterpret_cast<Bits*>(arrays + static_cast<size_t>(array) * stride + i);
    };
    Bits sum = {};
#pragma GCC unroll 8
    for (int r = 0; r < Read; ++r) sum ^= *vector(r);
#pragma GCC unroll 8
    for (int u = Read; u < Read + Updated; ++u) *vector(u) ^= sum;
#pragma GCC unroll 8
    for (int w = Read + Updated; w < Read + Updated + Written; ++w)
      store<Streamed>(vector(w), sum);
    if constexpr (Updated + Written == 0) all ^= sum;
  }
#ifdef __x86_64__
  if constexpr (Streamed) _mm_sfence();
#endif
  if constexpr (Updated + Written == 0) asm volatile("" : : "m"(all));
}

struct Kind {
  int read, updated, written;
  Mover *cached, *streamed;
};

template <int Read, int Updated, int Written>
constexpr Kind kind = {Read, Updated, Written, move_arrays<Read, Updated, Written>,
                       move_arrays<Read, Updated, Written, true>};
constexpr Kind kinds[] = {kind<1, 0, 1>, kind<2, 0, 1>, kind<1, 1, 0>, kind<1, 2, 0>,
                          kind<1, 3, 0>};

struct Move final : Work {
  static constexpr size_t huge = 2 << 20;  // bytes of a large page
  static inline const long second_level = sysconf(_SC_LEVEL2_CACHE_SIZE);

  Mover* mover;
  size_t bytes, more, stride, arrays;
  std::byte* memory;

  Move(const Kind& kind, size_t bytes, size_t more) : bytes(bytes), more(more) {
    // Not a multiple of 4096: loads would seem to meet the stores next to them.
    stride = (bytes + width - 1) / width * width + 17 * 64;
    arrays = static_cast<size_t>(kind.read + kind.updated + kind.written);
    const size_t total = (arrays * stride + more + huge) / huge * huge;
    memory = static_cast<std::byte*>(::operator new(total, std::align_val_t{huge}));
    madvise(memory, total, MADV_HUGEPAGE);
    std::memset(memory, 0, total);
    lasts = total > huge;
    // A streamed store does not read its line before: measured to be a gain as soon as
    // the arrays do not fit the second-level cache.
    const bool streamed = arrays * bytes > static_cast<size_t>(second_level);
    mover = streamed ? kind.streamed : kind.cached;
  }
  ~Move() override { ::operator delete(memory, std::align_val_t{huge}); }

  void run() override {
    if (more) move_arrays<1, 0, 0>(memory + arrays * stride, 0, more);
    mover(memory, stride, bytes);
  }
};

PyObject* move(PyObject*, PyObject* arguments) {
  Py_ssize_t bytes, more;
  int read, updated, written;
  if (!PyArg_ParseTuple(arguments, "niiin", &bytes, &read, &updated, &written, &more))
    return nullptr;
  for (const Kind& kind : kinds)
    if (kind.read == read && kind.updated == updated && kind.written == written)
      return make_call(
          new Move(kind, static_cast<size_t>(bytes), static_cast<size_t>(more)));
  PyErr_SetString(PyExc_ValueError, "no loop moves so many arrays");
  return nullptr;
}

PyMethodDef methods[] = {{"multiply", multiply, METH_VARARGS, nullptr},
                         {"move", move, METH_VARARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "limit",
                          nullptr,
                          -1,
                          methods,
                          nullptr,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_limit() { return PyModule_Create(&definition); }
