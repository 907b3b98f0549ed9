#include <array>

#include "network/columns.hpp"
#include "network/layer.hpp"
#include "ops/scratch.hpp"

namespace lamina {

namespace {

// Columns become linear maps of waves: cosines with phases, before which all columns
// pass, or cosines and sines, before which the others do.
template <class T>
class Periodic final : public Layer<T> {
 public:
  using Layer<T>::inputs, Layer<T>::outputs, Layer<T>::parameters;

  Periodic(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, settings.count("outputs")),
        phases_(settings.flag("phases")),
        columns_(settings.counts("columns"), inputs, phases_),
        frequencies_(settings.count("frequencies")),
        terms_(phases_ ? frequencies_ : 2 * frequencies_),
        dims_((outputs - columns_.passed.size()) / columns_.taken.size()) {
    for (const std::size_t size : own()) {
      if (size > 0) this->sizes.push_back(columns_.taken.size() * size);
      parameters_ += size;
    }
    this->work = outputs + columns_.taken.size() * terms_ * (dims_ + 8);
  }

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    columns_.pass(x, y, batch.rows, outputs);
    each(batch.rows, [&](std::size_t k) {
      const Kept scratch(terms_ * lanes * sizeof(T));
      kernels<T>().periodic(column(k, batch.rows), x + columns_.taken[k], y + first(k),
                            static_cast<T*>(scratch.get()));
    });
    return y;
  }

  T* backward(const Batch& batch, const T* x, const T*, const T*, T* dy, T* dx,
              T* gradient) const override {
    if (dx) columns_.pass_back(dy, dx, batch.rows, outputs);
    const std::size_t sums = batch.rows > chain * lanes ? 3 : 1;
    each(batch.rows, [&](std::size_t k) {
      const std::size_t room = (dims_ + sums * parameters_) * lanes;
      const Kept scratch((room + parameters_) * sizeof(T));
      T* const found = static_cast<T*>(scratch.get()) + room;
      kernels<T>().periodic_backward(column(k, batch.rows), x + columns_.taken[k],
                                     dy + first(k), dx ? dx + columns_.taken[k] : dx,
                                     found, static_cast<T*>(scratch.get()));
      const T* from = found;
      T* to = gradient;
      for (const std::size_t size : own()) {
        if (to) std::copy_n(from, size, to + k * size);
        from += size;
        if (to) to += columns_.taken.size() * size;
      }
    });
    return dx;
  }

 private:
  static constexpr std::size_t lanes = 64 / sizeof(T);  // those of Lanes<T>

  // Of a column: its numbers in each array of parameters.
  std::array<std::size_t, 4> own() const {
    return {frequencies_, phases_ ? frequencies_ : 0, terms_ * dims_, dims_};
  }
  std::size_t first(std::size_t k) const { return columns_.passed.size() + k * dims_; }
  PeriodicColumn<T> column(std::size_t k, std::size_t rows) const {
    const T* of[4];
    const T* from = parameters;
    const auto sizes = own();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      of[i] = from + k * sizes[i];
      from += columns_.taken.size() * sizes[i];
    }
    return {.rows = rows,
            .x_stride = inputs,
            .y_stride = outputs,
            .frequencies = frequencies_,
            .dims = dims_,
            .frequency = of[0],
            .phase = phases_ ? of[1] : nullptr,
            .weight = of[2],
            .bias = of[3]};
  }

  template <class Work>
  void each(std::size_t rows, const Work& work) const {
    parallel_rows(columns_.taken.size(), rows * terms_ * (dims_ + 8), cycles_of<T>(0.2),
                  [&](std::size_t begin, std::size_t count) {
                    for (std::size_t k = begin; k < begin + count; ++k) work(k);
                  });
  }

  const bool phases_;
  const Columns columns_;
  const std::size_t frequencies_, terms_, dims_;
  std::size_t parameters_ = 0;  // of a column
};

const Register<Periodic> periodic_kind{"periodic"};

}  // namespace

}  // namespace lamina
