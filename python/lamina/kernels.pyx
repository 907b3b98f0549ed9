# cython: language_level=3, freethreading_compatible=True
"""Kernels on raw pointers for Cython (see kernels.pxd) and, through the capsules in
``__pyx_capi__``, for Numba and others. Nothing here computes: every function calls the
kernel of the core's active target.

Examples
--------
From a function that Numba compiles:

>>> import ctypes
>>> import numba, numpy as np
>>> from numba.extending import get_cython_function_address
>>> pointer = ctypes.c_void_p
>>> prototype = ctypes.CFUNCTYPE(None, pointer, pointer, ctypes.c_size_t)
>>> sigmoid = prototype(get_cython_function_address("lamina.kernels", "sigmoid_f32"))
>>> @numba.njit
... def gated(x, gate):
...     y = np.empty_like(gate)
...     sigmoid(gate.ctypes, y.ctypes, gate.size)
...     return x * y
>>> gated(np.ones(3, np.float32), np.zeros(3, np.float32))
array([0.5, 0.5, 0.5], dtype=float32)
"""

from cpython.pycapsule cimport PyCapsule_GetPointer

from lamina import _core

cdef extern from "bindings/c_api.hpp" nogil:
    struct KernelApiF32 "lamina::KernelApi<float>":
        void (*forward)(size_t, const float *, float *, size_t, float) noexcept nogil
        void (*backward)(size_t, const float *, const float *, float *, size_t,
                         float) noexcept nogil
        void (*softmax)(size_t, const float *, float *, size_t, size_t) noexcept nogil
        void (*softmax_backward)(size_t, const float *, const float *, float *, size_t,
                                 size_t) noexcept nogil
        void (*dropout)(const float *, float *, size_t, double, uint64_t,
                        uint64_t) noexcept nogil
        void (*dropout_backward)(const float *, const uint8_t *, float *, size_t,
                                 double) noexcept nogil
        int (*dense)(const float *, const float *, const float *, float *, float *,
                     size_t, size_t, size_t, size_t, float) noexcept nogil
        int (*dense_backward)(const float *, const float *, const float *,
                              const float *, float *, float *, float *, size_t, size_t,
                              size_t, size_t, float) noexcept nogil

    struct KernelApiF64 "lamina::KernelApi<double>":
        void (*forward)(size_t, const double *, double *, size_t, double) noexcept nogil
        void (*backward)(size_t, const double *, const double *, double *, size_t,
                         double) noexcept nogil
        void (*softmax)(size_t, const double *, double *, size_t, size_t) noexcept nogil
        void (*softmax_backward)(size_t, const double *, const double *, double *, size_t,
                                 size_t) noexcept nogil
        void (*dropout)(const double *, double *, size_t, double, uint64_t,
                        uint64_t) noexcept nogil
        void (*dropout_backward)(const double *, const uint8_t *, double *, size_t,
                                 double) noexcept nogil
        int (*dense)(const double *, const double *, const double *, double *, double *,
                     size_t, size_t, size_t, size_t, double) noexcept nogil
        int (*dense_backward)(const double *, const double *, const double *,
                              const double *, double *, double *, double *, size_t, size_t,
                              size_t, size_t, double) noexcept nogil

    struct CApi "lamina::CApi":
        KernelApiF32 f32
        KernelApiF64 f64
        void (*dropout_mask)(uint8_t *, size_t, double, uint64_t,
                             uint64_t) noexcept nogil

cdef const CApi *api = <const CApi *>PyCapsule_GetPointer(
    _core._C_API, "lamina._core._C_API")


cdef void dropout_mask(uint8_t *mask, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil:
    api.dropout_mask(mask, n, rate, seed, offset)

cdef void dropout_f32(const float *x, float *y, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil:
    api.f32.dropout(x, y, n, rate, seed, offset)

cdef void dropout_backward_f32(const float *dy, const uint8_t *mask, float *dx, size_t n, double rate) noexcept nogil:
    api.f32.dropout_backward(dy, mask, dx, n, rate)

cdef int dense_f32(const float *x, const float *kernel, const float *bias, float *y, float *saved, size_t batch, size_t features, size_t units, size_t activation, float parameter) noexcept nogil:
    return api.f32.dense(x, kernel, bias, y, saved, batch, features, units, activation, parameter)

cdef int dense_backward_f32(const float *dy, const float *x, const float *kernel, const float *saved, float *dx, float *dkernel, float *dbias, size_t batch, size_t features, size_t units, size_t activation, float parameter) noexcept nogil:
    return api.f32.dense_backward(dy, x, kernel, saved, dx, dkernel, dbias, batch, features, units, activation, parameter)

cdef void dropout_f64(const double *x, double *y, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil:
    api.f64.dropout(x, y, n, rate, seed, offset)

cdef void dropout_backward_f64(const double *dy, const uint8_t *mask, double *dx, size_t n, double rate) noexcept nogil:
    api.f64.dropout_backward(dy, mask, dx, n, rate)

cdef int dense_f64(const double *x, const double *kernel, const double *bias, double *y, double *saved, size_t batch, size_t features, size_t units, size_t activation, double parameter) noexcept nogil:
    return api.f64.dense(x, kernel, bias, y, saved, batch, features, units, activation, parameter)

cdef int dense_backward_f64(const double *dy, const double *x, const double *kernel, const double *saved, double *dx, double *dkernel, double *dbias, size_t batch, size_t features, size_t units, size_t activation, double parameter) noexcept nogil:
    return api.f64.dense_backward(dy, x, kernel, saved, dx, dkernel, dbias, batch, features, units, activation, parameter)


# generated: begin
cdef void identity_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(0, x, y, n, 0)

cdef void identity_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(0, dy, saved, dx, n, 0)

cdef void identity_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(0, x, y, n, 0)

cdef void identity_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(0, dy, saved, dx, n, 0)

cdef void sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(1, x, y, n, 0)

cdef void sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(1, dy, saved, dx, n, 0)

cdef void sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(1, x, y, n, 0)

cdef void sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(1, dy, saved, dx, n, 0)

cdef void log_sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(2, x, y, n, 0)

cdef void log_sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(2, dy, saved, dx, n, 0)

cdef void log_sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(2, x, y, n, 0)

cdef void log_sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(2, dy, saved, dx, n, 0)

cdef void tanh_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(3, x, y, n, 0)

cdef void tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(3, dy, saved, dx, n, 0)

cdef void tanh_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(3, x, y, n, 0)

cdef void tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(3, dy, saved, dx, n, 0)

cdef void relu_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(4, x, y, n, 0)

cdef void relu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(4, dy, saved, dx, n, 0)

cdef void relu_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(4, x, y, n, 0)

cdef void relu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(4, dy, saved, dx, n, 0)

cdef void relu6_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(5, x, y, n, 0)

cdef void relu6_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(5, dy, saved, dx, n, 0)

cdef void relu6_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(5, x, y, n, 0)

cdef void relu6_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(5, dy, saved, dx, n, 0)

cdef void leaky_relu_f32(const float *x, float *y, size_t n, float negative_slope) noexcept nogil:
    api.f32.forward(6, x, y, n, negative_slope)

cdef void leaky_relu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float negative_slope) noexcept nogil:
    api.f32.backward(6, dy, saved, dx, n, negative_slope)

cdef void leaky_relu_f64(const double *x, double *y, size_t n, double negative_slope) noexcept nogil:
    api.f64.forward(6, x, y, n, negative_slope)

cdef void leaky_relu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double negative_slope) noexcept nogil:
    api.f64.backward(6, dy, saved, dx, n, negative_slope)

cdef void elu_f32(const float *x, float *y, size_t n, float alpha) noexcept nogil:
    api.f32.forward(7, x, y, n, alpha)

cdef void elu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float alpha) noexcept nogil:
    api.f32.backward(7, dy, saved, dx, n, alpha)

cdef void elu_f64(const double *x, double *y, size_t n, double alpha) noexcept nogil:
    api.f64.forward(7, x, y, n, alpha)

cdef void elu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double alpha) noexcept nogil:
    api.f64.backward(7, dy, saved, dx, n, alpha)

cdef void selu_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(8, x, y, n, 0)

cdef void selu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(8, dy, saved, dx, n, 0)

cdef void selu_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(8, x, y, n, 0)

cdef void selu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(8, dy, saved, dx, n, 0)

cdef void celu_f32(const float *x, float *y, size_t n, float alpha) noexcept nogil:
    api.f32.forward(9, x, y, n, alpha)

cdef void celu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float alpha) noexcept nogil:
    api.f32.backward(9, dy, saved, dx, n, alpha)

cdef void celu_f64(const double *x, double *y, size_t n, double alpha) noexcept nogil:
    api.f64.forward(9, x, y, n, alpha)

cdef void celu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double alpha) noexcept nogil:
    api.f64.backward(9, dy, saved, dx, n, alpha)

cdef void softplus_f32(const float *x, float *y, size_t n, float beta) noexcept nogil:
    api.f32.forward(10, x, y, n, beta)

cdef void softplus_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float beta) noexcept nogil:
    api.f32.backward(10, dy, saved, dx, n, beta)

cdef void softplus_f64(const double *x, double *y, size_t n, double beta) noexcept nogil:
    api.f64.forward(10, x, y, n, beta)

cdef void softplus_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double beta) noexcept nogil:
    api.f64.backward(10, dy, saved, dx, n, beta)

cdef void softsign_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(11, x, y, n, 0)

cdef void softsign_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(11, dy, saved, dx, n, 0)

cdef void softsign_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(11, x, y, n, 0)

cdef void softsign_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(11, dy, saved, dx, n, 0)

cdef void silu_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(12, x, y, n, 0)

cdef void silu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(12, dy, saved, dx, n, 0)

cdef void silu_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(12, x, y, n, 0)

cdef void silu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(12, dy, saved, dx, n, 0)

cdef void gelu_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(13, x, y, n, 0)

cdef void gelu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(13, dy, saved, dx, n, 0)

cdef void gelu_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(13, x, y, n, 0)

cdef void gelu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(13, dy, saved, dx, n, 0)

cdef void gelu_tanh_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(14, x, y, n, 0)

cdef void gelu_tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(14, dy, saved, dx, n, 0)

cdef void gelu_tanh_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(14, x, y, n, 0)

cdef void gelu_tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(14, dy, saved, dx, n, 0)

cdef void quick_gelu_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(15, x, y, n, 0)

cdef void quick_gelu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(15, dy, saved, dx, n, 0)

cdef void quick_gelu_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(15, x, y, n, 0)

cdef void quick_gelu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(15, dy, saved, dx, n, 0)

cdef void mish_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(16, x, y, n, 0)

cdef void mish_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(16, dy, saved, dx, n, 0)

cdef void mish_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(16, x, y, n, 0)

cdef void mish_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(16, dy, saved, dx, n, 0)

cdef void hard_sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(17, x, y, n, 0)

cdef void hard_sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(17, dy, saved, dx, n, 0)

cdef void hard_sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(17, x, y, n, 0)

cdef void hard_sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(17, dy, saved, dx, n, 0)

cdef void hard_swish_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(18, x, y, n, 0)

cdef void hard_swish_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(18, dy, saved, dx, n, 0)

cdef void hard_swish_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(18, x, y, n, 0)

cdef void hard_swish_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(18, dy, saved, dx, n, 0)

cdef void hard_tanh_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(19, x, y, n, 0)

cdef void hard_tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(19, dy, saved, dx, n, 0)

cdef void hard_tanh_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(19, x, y, n, 0)

cdef void hard_tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(19, dy, saved, dx, n, 0)

cdef void tanh_shrink_f32(const float *x, float *y, size_t n) noexcept nogil:
    api.f32.forward(20, x, y, n, 0)

cdef void tanh_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil:
    api.f32.backward(20, dy, saved, dx, n, 0)

cdef void tanh_shrink_f64(const double *x, double *y, size_t n) noexcept nogil:
    api.f64.forward(20, x, y, n, 0)

cdef void tanh_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil:
    api.f64.backward(20, dy, saved, dx, n, 0)

cdef void soft_shrink_f32(const float *x, float *y, size_t n, float threshold) noexcept nogil:
    api.f32.forward(21, x, y, n, threshold)

cdef void soft_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float threshold) noexcept nogil:
    api.f32.backward(21, dy, saved, dx, n, threshold)

cdef void soft_shrink_f64(const double *x, double *y, size_t n, double threshold) noexcept nogil:
    api.f64.forward(21, x, y, n, threshold)

cdef void soft_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double threshold) noexcept nogil:
    api.f64.backward(21, dy, saved, dx, n, threshold)

cdef void hard_shrink_f32(const float *x, float *y, size_t n, float threshold) noexcept nogil:
    api.f32.forward(22, x, y, n, threshold)

cdef void hard_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float threshold) noexcept nogil:
    api.f32.backward(22, dy, saved, dx, n, threshold)

cdef void hard_shrink_f64(const double *x, double *y, size_t n, double threshold) noexcept nogil:
    api.f64.forward(22, x, y, n, threshold)

cdef void hard_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double threshold) noexcept nogil:
    api.f64.backward(22, dy, saved, dx, n, threshold)

cdef void squareplus_f32(const float *x, float *y, size_t n, float b) noexcept nogil:
    api.f32.forward(23, x, y, n, b)

cdef void squareplus_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float b) noexcept nogil:
    api.f32.backward(23, dy, saved, dx, n, b)

cdef void squareplus_f64(const double *x, double *y, size_t n, double b) noexcept nogil:
    api.f64.forward(23, x, y, n, b)

cdef void squareplus_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double b) noexcept nogil:
    api.f64.backward(23, dy, saved, dx, n, b)

cdef void smooth_clip_f32(const float *x, float *y, size_t n, float limit) noexcept nogil:
    api.f32.forward(24, x, y, n, limit)

cdef void smooth_clip_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float limit) noexcept nogil:
    api.f32.backward(24, dy, saved, dx, n, limit)

cdef void smooth_clip_f64(const double *x, double *y, size_t n, double limit) noexcept nogil:
    api.f64.forward(24, x, y, n, limit)

cdef void smooth_clip_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double limit) noexcept nogil:
    api.f64.backward(24, dy, saved, dx, n, limit)

cdef void softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil:
    api.f32.softmax(0, x, y, rows, cols)

cdef void softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil:
    api.f32.softmax_backward(0, dy, y, dx, rows, cols)

cdef void softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil:
    api.f64.softmax(0, x, y, rows, cols)

cdef void softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil:
    api.f64.softmax_backward(0, dy, y, dx, rows, cols)

cdef void log_softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil:
    api.f32.softmax(1, x, y, rows, cols)

cdef void log_softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil:
    api.f32.softmax_backward(1, dy, y, dx, rows, cols)

cdef void log_softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil:
    api.f64.softmax(1, x, y, rows, cols)

cdef void log_softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil:
    api.f64.softmax_backward(1, dy, y, dx, rows, cols)
# generated: end
