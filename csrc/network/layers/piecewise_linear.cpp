#include <cmath>

#include "network/columns.hpp"
#include "network/groups.hpp"
#include "network/layer.hpp"

namespace lamina {

namespace {

// Columns become continuous functions, linear within each bin of the column: a bin's
// weights are what such a function gains over it. The other columns pass before them.
template <class T>
class PiecewiseLinear final : public Layer<T> {
 public:
  using Layer<T>::inputs, Layer<T>::outputs, Layer<T>::parameters;

  PiecewiseLinear(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, settings.count("outputs")),
        columns_(settings.counts("columns"), inputs),
        bins_(settings.count("bins")),
        dims_((outputs - columns_.passed.size()) / columns_.taken.size()),
        edges_(settings.array("edges", columns_.taken.size() * (bins_ + 1))) {
    const std::size_t count = columns_.taken.size();
    this->sizes = {count * bins_ * dims_, count * dims_};
  }

  // The bin of each number, and its part of the way through it.
  std::size_t saves(std::size_t rows) const override {
    return 2 * rows * columns_.taken.size();
  }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const std::size_t rows = batch.rows;
    columns_.pass(x, y, rows, outputs);
    each(rows, [&](std::size_t k) {
      const Kept scratch((bins_ * dims_ + (saved ? 0 : 2 * rows)) * sizeof(T));
      T* const starts = static_cast<T*>(scratch.get());
      T* const parts = saved ? parts_of(saved, k, rows) : starts + bins_ * dims_;
      auto* const bins = saved ? bins_of(saved, k, rows)
                               : reinterpret_cast<Groups::Code*>(parts + rows);
      const T* const weight = weights(k);
      std::copy_n(bias(k), dims_, starts);  // the function where each bin begins
      for (std::size_t i = 0; i + dims_ < bins_ * dims_; ++i)
        starts[i + dims_] = starts[i] + weight[i];
      find(k, rows, x + columns_.taken[k], bins, parts);
      T* to = y + first(k);
      for (std::size_t row = 0; row < rows; ++row, to += outputs) {
        const std::size_t at = bins[row] * dims_;
        for (std::size_t d = 0; d < dims_; ++d)
          to[d] = starts[at + d] + parts[row] * weight[at + d];
      }
    });
    return y;
  }

  T* backward(const Batch& batch, const T*, const T*, const T* saved, T* dy, T* dx,
              T* gradient) const override {
    const std::size_t rows = batch.rows;
    if (dx) columns_.pass_back(dy, dx, rows, outputs);
    each(rows, [&](std::size_t k) {
      const T* const from = dy + first(k);
      const T* const parts = parts_of(saved, k, rows);
      const Groups::Code* const bins = bins_of(saved, k, rows);
      if (gradient) {
        T* const dweight = gradient + (weights(k) - parameters);
        const Groups groups(bins, rows, bins_, bins_ * dims_);
        T* const sums = static_cast<T*>(groups.room());
        groups.sum(from, static_cast<const T*>(nullptr), dims_, outputs, sums);
        groups.sum(from, parts, dims_, outputs, dweight);
        // Whatever is beyond a bin has all that it gains.
        T* const beyond = gradient + (bias(k) - parameters);
        std::fill_n(beyond, dims_, T(0));
        for (std::size_t bin = bins_; bin-- > 0;)
          for (std::size_t d = 0; d < dims_; ++d) {
            dweight[bin * dims_ + d] += beyond[d];
            beyond[d] += sums[bin * dims_ + d];
          }
      }
      const T* const edge = edges_ + k * (bins_ + 1);
      for (std::size_t row = 0; dx && row < rows; ++row) {
        const std::size_t bin = bins[row];
        T sum = 0;
        for (std::size_t d = 0; d < dims_; ++d)
          sum += from[row * outputs + d] * weights(k)[bin * dims_ + d];
        dx[row * inputs + columns_.taken[k]] = sum / (edge[bin + 1] - edge[bin]);
      }
    });
    return dx;
  }

 private:
  const T* weights(std::size_t k) const { return parameters + k * bins_ * dims_; }
  const T* bias(std::size_t k) const { return parameters + this->sizes[0] + k * dims_; }
  std::size_t first(std::size_t k) const { return columns_.passed.size() + k * dims_; }
  template <class U>
  static U* parts_of(U* saved, std::size_t k, std::size_t rows) {
    return saved + 2 * k * rows;
  }
  static Groups::Code* bins_of(T* saved, std::size_t k, std::size_t rows) {
    return reinterpret_cast<Groups::Code*>(parts_of(saved, k, rows) + rows);
  }
  static const Groups::Code* bins_of(const T* saved, std::size_t k, std::size_t rows) {
    return reinterpret_cast<const Groups::Code*>(parts_of(saved, k, rows) + rows);
  }

  template <class Work>
  void each(std::size_t rows, const Work& work) const {
    parallel_rows(columns_.taken.size(), rows * (dims_ + 16), cycles_of<T>(1),
                  [&](std::size_t begin, std::size_t count) {
                    for (std::size_t k = begin; k < begin + count; ++k) work(k);
                  });
  }

  // The first and the last bin have no end.
  void find(std::size_t k, std::size_t rows, const T* x, Groups::Code* bins,
            T* parts) const {
    const T* const edge = edges_ + k * (bins_ + 1);
    std::size_t inner = bins_ - 1;
    while (inner > 0 && !std::isfinite(edge[inner + 1])) --inner;
    for (std::size_t row = 0; row < rows; ++row, x += inputs) {
      std::size_t bin = 0;
      for (std::size_t left = inner; left > 0;) {
        const std::size_t half = left - left / 2;
        bin += *x >= edge[bin + half] ? half : 0;
        left -= half;
      }
      bins[row] = static_cast<Groups::Code>(bin);
      parts[row] = (*x - edge[bin]) / (edge[bin + 1] - edge[bin]);
    }
  }

  const Columns columns_;
  const std::size_t bins_, dims_;
  const T* const edges_;
};

const Register<PiecewiseLinear> piecewise_linear_kind{"piecewise_linear"};

}  // namespace

}  // namespace lamina
