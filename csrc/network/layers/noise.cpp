#include "network/layer.hpp"

namespace lamina {

namespace {

template <class T>
class Noise final : public Layer<T> {
 public:
  Noise(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, inputs), stddev_(settings.number("stddev")) {
    this->random = true;
  }

  const T* forward(const Batch& batch, const T* x, T* y, T*) const override {
    if (!batch.training) return x;
    const Draw& draw = batch.draw;
    gaussian_noise(
        kernels<T>(), x, y, batch.rows * this->outputs,
        {draw.seed, draw.stream(purpose, this->index), draw.first_row * this->outputs},
        stddev_);
    return y;
  }

  T* backward(const Batch&, const T*, const T*, const T*, T* dy, T*,
              T*) const override {
    return dy;
  }

 private:
  static constexpr std::uint64_t purpose = 4;

  const double stddev_;
};

const Register<Noise> noise_kind{"noise"};

}  // namespace

}  // namespace lamina
