# For `cimport lamina.kernels`: every activation and its backward on raw pointers, without
# the GIL and without checks; softmax on contiguous rows. An output may be the very array
# of an input, otherwise arrays do not overlap. `saved` is what the activation's `saves`
# names: its output or its input. The kernels are those of the active target.

# generated: begin
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
cdef void softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil
cdef void softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil
cdef void softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil
cdef void softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_f32(const float *x, float *y, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_backward_f32(const float *dy, const float *y, float *dx, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_f64(const double *x, double *y, size_t rows, size_t cols) noexcept nogil
cdef void log_softmax_backward_f64(const double *dy, const double *y, double *dx, size_t rows, size_t cols) noexcept nogil
# generated: end
