# For `cimport lamina.kernels`, without the GIL and without checks, on raw pointers: every
# activation and its backward, softmax on contiguous rows, dropout and dense layers. An
# output may be the very array of an input (but not of dense layers), otherwise arrays do
# not overlap. `saved` is what the activation's `saves` names: its output or its input.
# The kernels are those of the active target.

from libc.stdint cimport uint8_t, uint64_t

# Inverted dropout, 0 <= rate <= 1; element i takes the bits of seed and offset + i. Masks
# have a bit an element, the lowest first, 1 where it is kept, in (n + 7) / 8 bytes.
#
# y = activation(x kernel + bias) and its gradients, matrices row by row (kernel: features
# x units). bias, dx, dkernel, dbias and dense's `saved` may be NULL; `saved` receives what
# backward reads and may be y where that is the output. Outputs overlap no input and not
# each other. `activation` is one of the names at the end, `parameter` its parameter if it
# has one. The result is 0, or -1 if there was no memory for a copy: nothing has been
# written then.
cdef void dropout_mask(uint8_t *mask, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil
cdef void dropout_f32(const float *x, float *y, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil
cdef void dropout_backward_f32(const float *dy, const uint8_t *mask, float *dx, size_t n, double rate) noexcept nogil
cdef int dense_f32(const float *x, const float *kernel, const float *bias, float *y, float *saved, size_t batch, size_t features, size_t units, size_t activation, float parameter) noexcept nogil
cdef int dense_backward_f32(const float *dy, const float *x, const float *kernel, const float *saved, float *dx, float *dkernel, float *dbias, size_t batch, size_t features, size_t units, size_t activation, float parameter) noexcept nogil
cdef void dropout_f64(const double *x, double *y, size_t n, double rate, uint64_t seed, uint64_t offset) noexcept nogil
cdef void dropout_backward_f64(const double *dy, const uint8_t *mask, double *dx, size_t n, double rate) noexcept nogil
cdef int dense_f64(const double *x, const double *kernel, const double *bias, double *y, double *saved, size_t batch, size_t features, size_t units, size_t activation, double parameter) noexcept nogil
cdef int dense_backward_f64(const double *dy, const double *x, const double *kernel, const double *saved, double *dx, double *dkernel, double *dbias, size_t batch, size_t features, size_t units, size_t activation, double parameter) noexcept nogil

# generated: begin
cdef enum Activation:
    IDENTITY = 0
    SIGMOID = 1
    LOG_SIGMOID = 2
    TANH = 3
    RELU = 4
    RELU6 = 5
    LEAKY_RELU = 6
    ELU = 7
    SELU = 8
    CELU = 9
    SOFTPLUS = 10
    SOFTSIGN = 11
    SILU = 12
    GELU = 13
    GELU_TANH = 14
    QUICK_GELU = 15
    MISH = 16
    HARD_SIGMOID = 17
    HARD_SWISH = 18
    HARD_TANH = 19
    TANH_SHRINK = 20
    SOFT_SHRINK = 21
    HARD_SHRINK = 22
    SQUAREPLUS = 23
    SMOOTH_CLIP = 24

cdef void identity_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void identity_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void identity_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void identity_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void log_sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void log_sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void log_sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void log_sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void tanh_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void tanh_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void relu_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void relu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void relu_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void relu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void relu6_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void relu6_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void relu6_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void relu6_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void leaky_relu_f32(const float *x, float *y, size_t n, float negative_slope) noexcept nogil
cdef void leaky_relu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float negative_slope) noexcept nogil
cdef void leaky_relu_f64(const double *x, double *y, size_t n, double negative_slope) noexcept nogil
cdef void leaky_relu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double negative_slope) noexcept nogil
cdef void elu_f32(const float *x, float *y, size_t n, float alpha) noexcept nogil
cdef void elu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float alpha) noexcept nogil
cdef void elu_f64(const double *x, double *y, size_t n, double alpha) noexcept nogil
cdef void elu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double alpha) noexcept nogil
cdef void selu_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void selu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void selu_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void selu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void celu_f32(const float *x, float *y, size_t n, float alpha) noexcept nogil
cdef void celu_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float alpha) noexcept nogil
cdef void celu_f64(const double *x, double *y, size_t n, double alpha) noexcept nogil
cdef void celu_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double alpha) noexcept nogil
cdef void softplus_f32(const float *x, float *y, size_t n, float beta) noexcept nogil
cdef void softplus_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float beta) noexcept nogil
cdef void softplus_f64(const double *x, double *y, size_t n, double beta) noexcept nogil
cdef void softplus_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double beta) noexcept nogil
cdef void softsign_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void softsign_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void softsign_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void softsign_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void silu_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void silu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void silu_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void silu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void gelu_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void gelu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void gelu_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void gelu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void gelu_tanh_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void gelu_tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void gelu_tanh_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void gelu_tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void quick_gelu_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void quick_gelu_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void quick_gelu_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void quick_gelu_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void mish_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void mish_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void mish_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void mish_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void hard_sigmoid_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void hard_sigmoid_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void hard_sigmoid_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void hard_sigmoid_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void hard_swish_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void hard_swish_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void hard_swish_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void hard_swish_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void hard_tanh_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void hard_tanh_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void hard_tanh_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void hard_tanh_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void tanh_shrink_f32(const float *x, float *y, size_t n) noexcept nogil
cdef void tanh_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n) noexcept nogil
cdef void tanh_shrink_f64(const double *x, double *y, size_t n) noexcept nogil
cdef void tanh_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n) noexcept nogil
cdef void soft_shrink_f32(const float *x, float *y, size_t n, float threshold) noexcept nogil
cdef void soft_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float threshold) noexcept nogil
cdef void soft_shrink_f64(const double *x, double *y, size_t n, double threshold) noexcept nogil
cdef void soft_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double threshold) noexcept nogil
cdef void hard_shrink_f32(const float *x, float *y, size_t n, float threshold) noexcept nogil
cdef void hard_shrink_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float threshold) noexcept nogil
cdef void hard_shrink_f64(const double *x, double *y, size_t n, double threshold) noexcept nogil
cdef void hard_shrink_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double threshold) noexcept nogil
cdef void squareplus_f32(const float *x, float *y, size_t n, float b) noexcept nogil
cdef void squareplus_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float b) noexcept nogil
cdef void squareplus_f64(const double *x, double *y, size_t n, double b) noexcept nogil
cdef void squareplus_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double b) noexcept nogil
cdef void smooth_clip_f32(const float *x, float *y, size_t n, float limit) noexcept nogil
cdef void smooth_clip_backward_f32(const float *dy, const float *saved, float *dx, size_t n, float limit) noexcept nogil
cdef void smooth_clip_f64(const double *x, double *y, size_t n, double limit) noexcept nogil
cdef void smooth_clip_backward_f64(const double *dy, const double *saved, double *dx, size_t n, double limit) noexcept nogil
cdef void softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil
cdef void softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil
cdef void softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil
cdef void softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil
# generated: end
