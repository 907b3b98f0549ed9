// Waves of a column, cos(2 pi w x + phase) or cosines and sines of 2 pi w x, and the
// linear map of them. Rows lie in the lanes of Lanes<T>, of whose sums there is one for
// each parameter.
#pragma once

#include "kernels/kernel_table.hpp"
#include "kernels/long_sum.hpp"
#include "simd/math.hpp"
#include "simd/registers.hpp"

namespace lamina::LAMINA_TARGET {

namespace waves {

template <class T>
constexpr std::size_t block = Lanes<T>::count;  // rows

template <class T>
LAMINA_INLINE Lanes<T> gather(const T* x, std::size_t stride, std::size_t n) {
  T some[block<T>] = {};
  for (std::size_t i = 0; i < n; ++i) some[i] = x[i * stride];
  return Lanes<T>::load(some);
}

template <class T>
LAMINA_INLINE void scatter(const Lanes<T>& y, T* to, std::size_t stride,
                           std::size_t n) {
  T some[block<T>];
  y.store(some);
  for (std::size_t i = 0; i < n; ++i) to[i * stride] = some[i];
}

template <class T>
LAMINA_INLINE Lanes<T> multiply_add(const Lanes<T>& a, T b, const Lanes<T>& c) {
  return map([=](Vec<T> u, Vec<T> v) { return fma(u, Vec<T>(b), v); }, a, c);
}

template <class T>
LAMINA_INLINE std::size_t terms_of(const PeriodicColumn<T>& p) {
  return p.phase ? p.frequencies : 2 * p.frequencies;
}

// Angles in turns.
template <class T>
LAMINA_INLINE Lanes<T> angles(const PeriodicColumn<T>& p, std::size_t k,
                              const Lanes<T>& x) {
  constexpr double turn = 0x1.921fb54442d18p2;
  const T phase = p.phase ? p.phase[k] * static_cast<T>(1 / turn) : T(0);
  return multiply_add(x, p.frequency[k], Lanes<T>::broadcast(phase));
}

// Adds to the sums of lanes at `sum`.
template <class T>
LAMINA_INLINE void add(T* sum, const Lanes<T>& a, const Lanes<T>& b) {
  map([](Vec<T> u, Vec<T> v, Vec<T> s) { return fma(u, v, s); }, a, b,
      Lanes<T>::load(sum))
      .store(sum);
}

}  // namespace waves

template <class T>
[[gnu::flatten]] void periodic(const PeriodicColumn<T>& p, const T* x, T* y,
                               T* scratch) {
  using namespace waves;
  const std::size_t terms = terms_of(p);
  for (std::size_t row = 0; row < p.rows; row += block<T>) {
    const std::size_t n = smaller(block<T>, p.rows - row);
    const Lanes<T> in = gather(x + row * p.x_stride, p.x_stride, n);
    for (std::size_t k = 0; k < p.frequencies; ++k) {
      const Lanes<T> u = angles(p, k, in);
      map([](Vec<T> v) { return cos_of_turns(v); }, u).store(scratch + k * block<T>);
      if (!p.phase)
        map([](Vec<T> v) { return sin_of_turns(v); }, u)
            .store(scratch + (p.frequencies + k) * block<T>);
    }
    // Four chains hide the time of an addition.
    constexpr std::size_t wide = 4;
    for (std::size_t d = 0; d < p.dims; d += wide) {
      std::size_t at[wide];
      Lanes<T> sum[wide];
      repeat<wide>([&](std::size_t i) __attribute__((always_inline)) {
        at[i] = smaller(d + i, p.dims - 1);
        sum[i] = Lanes<T>::broadcast(p.bias[at[i]]);
      });
      for (std::size_t k = 0; k < terms; ++k) {
        const Lanes<T> wave = Lanes<T>::load(scratch + k * block<T>);
        const T* const weight = p.weight + k * p.dims;
        repeat<wide>([&](std::size_t i) __attribute__((always_inline)) {
          sum[i] = multiply_add(wave, weight[at[i]], sum[i]);
        });
      }
      for (std::size_t i = 0; i < smaller(wide, p.dims - d); ++i)
        scatter(sum[i], y + row * p.y_stride + d + i, p.y_stride, n);
    }
  }
}

template <class T>
[[gnu::flatten]] void periodic_backward(const PeriodicColumn<T>& p, const T* x,
                                        const T* dy, T* dx, T* gradient, T* scratch) {
  using namespace waves;
  constexpr std::size_t lanes = block<T>;
  // As the parameters lie: frequencies, phases, weights, biases.
  const std::size_t weights = p.frequencies * (p.phase ? 2 : 1);
  const std::size_t biases = weights + terms_of(p) * p.dims;
  const std::size_t count = biases + p.dims;
  T* const slopes = scratch;  // dy; then sums, and where there are several blocks, too:
  T* const high = slopes + p.dims * lanes;
  T* const low = high + count * lanes;
  T* const block_sums = low + count * lanes;
  constexpr double turn = 0x1.921fb54442d18p2;

  for_blocks(p.rows, lane_block<T>, [&](std::size_t begin, std::size_t end) {
    T* const sums = begin > 0 ? block_sums : high;
    for (std::size_t i = 0; i < count * lanes; ++i) sums[i] = 0;
    for (std::size_t row = begin; row < end; row += lanes) {
      const std::size_t n = smaller(lanes, end - row);
      const Lanes<T> in = gather(x + row * p.x_stride, p.x_stride, n);
      const Lanes<T> one = Lanes<T>::broadcast(1);
      for (std::size_t d = 0; d < p.dims; ++d) {
        const Lanes<T> g = gather(dy + row * p.y_stride + d, p.y_stride, n);
        g.store(slopes + d * lanes);
        add(sums + (biases + d) * lanes, g, one);
      }
      Lanes<T> down =
          dx ? gather(dx + row * p.x_stride, p.x_stride, n) : Lanes<T>::broadcast(0);
      for (std::size_t k = 0; k < p.frequencies; ++k) {
        const Lanes<T> u = angles(p, k, in);
        const Lanes<T> cosine = map([](Vec<T> v) { return cos_of_turns(v); }, u);
        const Lanes<T> sine = map([](Vec<T> v) { return sin_of_turns(v); }, u);
        // The gradient by a wave, whose parameters get their sums.
        const auto by = [&](std::size_t term, const Lanes<T>& wave) {
          Lanes<T> sum = Lanes<T>::broadcast(0);
          const std::size_t first = term * p.dims;
          for (std::size_t d = 0; d < p.dims; ++d) {
            const Lanes<T> g = Lanes<T>::load(slopes + d * lanes);
            add(sums + (weights + first + d) * lanes, wave, g);
            sum = multiply_add(g, p.weight[first + d], sum);
          }
          return sum;
        };
        Lanes<T> angle = map([](Vec<T> a, Vec<T> s) { return -a * s; }, by(k, cosine),
                             sine);  // by radians
        if (!p.phase)
          angle = map([](Vec<T> a, Vec<T> c, Vec<T> s) { return fma(a, c, s); },
                      by(p.frequencies + k, sine), cosine, angle);
        else
          add(sums + (p.frequencies + k) * lanes, angle, one);
        const Lanes<T> by_turn = map([](Vec<T> a) { return a * Vec<T>(turn); }, angle);
        add(sums + k * lanes, by_turn, in);
        down = multiply_add(by_turn, p.frequency[k], down);
      }
      if (dx) scatter(down, dx + row * p.x_stride, p.x_stride, n);
    }
    if (begin == lane_block<T>)
      for (std::size_t i = 0; i < count * lanes; ++i) low[i] = 0;
    if (begin > 0) add_block(high, low, sums, count * lanes);
  });
  for (std::size_t i = 0; i < count; ++i)
    gradient[i] =
        fold(Lanes<T>::load(high + i * lanes), [](auto a, auto b) { return a + b; });
}

}  // namespace lamina::LAMINA_TARGET
