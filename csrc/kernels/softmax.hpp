// Softmax, log-softmax and their vector-Jacobian products over contiguous rows. Every
// sum runs in the virtual lanes of Lanes<T>, in blocks of a chain in each lane: the
// same bits on every target with fma. A row with NaN or +infinity, or of -infinity
// alone, gives NaN throughout.
#pragma once

#include "kernels/long_sum.hpp"
#include "simd/math.hpp"
#include "simd/registers.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// The columns of one row, from `i` on, in steps of Lanes: `step(i, count)`, count ==
// Lanes<T>::count except in the last.
template <class T, class Step>
LAMINA_INLINE void for_lanes(std::size_t cols, Step step, std::size_t i = 0) {
  constexpr std::size_t count = Lanes<T>::count;
  for (; i + count <= cols; i += count) step(i, count);
  if (i < cols) step(i, cols - i);
}

template <class T>
LAMINA_INLINE Lanes<T> load_some(const T* p, std::size_t n, T fill) {
  return n == Lanes<T>::count ? Lanes<T>::load(p) : Lanes<T>::load_first(p, n, fill);
}

template <class T>
LAMINA_INLINE void store_some(const Lanes<T>& a, T* p, std::size_t n) {
  if (n == Lanes<T>::count)
    a.store(p);
  else
    a.store_first(p, n);
}

template <class T>
LAMINA_INLINE T fold_sum(const Lanes<T>& a) {
  return fold(a, [](auto s, auto t) { return s + t; });
}

// The sum of columns, of which step(sum, i, n) adds n at i to the lanes.
template <class T, class Length, class Step>
LAMINA_INLINE T sum_in_lanes(Length length, std::size_t cols, Step step) {
  const auto sum_of = [&](std::size_t begin,
                          std::size_t end) __attribute__((always_inline)) {
    auto sum = Lanes<T>::broadcast(0);
    for_lanes<T>(
        end,
        [&](std::size_t i, std::size_t n)
            __attribute__((always_inline)) { sum = step(sum, i, n); },
        begin);
    return fold_sum(sum);
  };
  return length.template sum<T>(cols, sum_of);
}

template <class T>
constexpr T minus_infinity = -static_cast<T>(__builtin_inf());

// A maximum that may miss NaN: a row with one becomes NaN through the sum of
// exponentials.
template <class T>
LAMINA_INLINE T row_max(const T* x, std::size_t cols) {
  auto best = Lanes<T>::broadcast(minus_infinity<T>);
  for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
    best = map([](Vec<T> a, Vec<T> b) { return max(a, b); }, best,
               load_some(x + i, n, minus_infinity<T>));
  });
  return fold(best, [](auto a, auto b) { return a > b ? a : b; });
}

// The sum of exp(x - top); the exponentials go to y unless it is null. Three a turn, as
// in `transform`, where there are registers for them: sixteen hold one (in three, AVX2
// took 8 to 17 % longer over rows of 100).
template <class T, class Length>
LAMINA_INLINE T row_exp_sum(Length length, const T* x, T* y, std::size_t cols, T top) {
  constexpr std::size_t turn = many_registers ? 3 : 1, count = Lanes<T>::count;
  const auto exp_of = [=](const Lanes<T>& a) __attribute__((always_inline)) {
    return map([=](Vec<T> v) { return exp_nonpositive(v - Vec<T>(top)); }, a);
  };
  const auto sum_of = [=](std::size_t i,
                          std::size_t end) __attribute__((always_inline)) {
    auto sum = Lanes<T>::broadcast(0);
    const auto add = [&](const Lanes<T>& e) __attribute__((always_inline)) {
      sum = map([](Vec<T> a, Vec<T> b) { return a + b; }, sum, e);
    };
    for (; i + turn * count <= end; i += turn * count) {
      Lanes<T> e[turn];
#pragma GCC unroll 3
      for (std::size_t k = 0; k < turn; ++k)
        e[k] = exp_of(Lanes<T>::load(x + i + k * count));
#pragma GCC unroll 3
      for (std::size_t k = 0; k < turn; ++k) {
        add(e[k]);
        if (y) e[k].store(y + i + k * count);
      }
    }
    for_lanes<T>(
        end,
        [&](std::size_t j, std::size_t n) __attribute__((always_inline)) {
          // Lanes beyond the row hold exp(-inf), 0, or NaN where the whole row is NaN.
          const auto e = exp_of(load_some(x + j, n, minus_infinity<T>));
          add(e);
          if (y) store_some(e, y + j, n);
        },
        i);
    return fold_sum(sum);
  };
  return length.template sum<T>(cols, sum_of);
}

// log(sum) of a sum of exponentials whose largest is 1: the exponent's share and that
// of a mantissa in [1, 2). NaN stays NaN; 0 gives some number.
template <class T>
LAMINA_INLINE Vec<T> log_of_sum(Vec<T> sum) {
  using V = Vec<T>;
  using C = Coefficients<T>;
  const V one(1.0);
  const auto exponent = (bits(sum) >> C::mantissa) - C::bias;
  const V e = __builtin_convertvector(exponent, typename V::Native);
  const V mantissa = V::from_bits(bits(sum) - (exponent << C::mantissa));
  const V excess = mantissa - one;
  const V log = log1p_of((excess + excess) / (mantissa + one));
  const V total = fma(e, V(C::log2_high), fma(e, V(C::log2_low), log));
  return total + (sum - sum);
}
template <class T>
LAMINA_INLINE T log_of_sum(T sum) {
  return log_of_sum(Vec<T>(sum)).value[0];
}

// As many short rows as Lanes has lanes, side by side: a register holds a column of
// them. Rows of ten are five to nine times as fast as in lanes of their own, where many
// lanes are empty and every sum is folded. Longer ones fill lanes of their own well.
template <class T>
class ShortRows {
 public:
  static constexpr std::size_t rows = Lanes<T>::count, max_cols = 32;

  // Lanes of rows that are not there hold 0.
  LAMINA_INLINE void load(const T* x, std::size_t count, std::size_t cols) {
    std::size_t c = 0;
    if (count == rows)
      for (; c + side <= cols; c += side)
        for (std::size_t r = 0; r < rows; r += side)
          turn(x + r * cols + c, cols, &column_[c][r], rows);
    for (; c < cols; ++c) {
      if (count < rows) Lanes<T>::broadcast(0).store(column_[c]);
      for (std::size_t r = 0; r < count; ++r) column_[c][r] = x[r * cols + c];
    }
  }
  LAMINA_INLINE void store(T* y, std::size_t count, std::size_t cols) const {
    std::size_t c = 0;
    if (count == rows)
      for (; c + side <= cols; c += side)
        for (std::size_t r = 0; r < rows; r += side)
          turn(&column_[c][r], rows, y + r * cols + c, cols);
    for (; c < cols; ++c)
      for (std::size_t r = 0; r < count; ++r) y[r * cols + c] = column_[c][r];
  }
  LAMINA_INLINE Lanes<T> operator[](std::size_t c) const {
    return Lanes<T>::load(column_[c]);
  }
  LAMINA_INLINE void set(std::size_t c, const Lanes<T>& a) { a.store(column_[c]); }

 private:
  static constexpr std::size_t side = 16 / sizeof(T);

  // A square of rows becomes columns, or the other way round.
  static LAMINA_INLINE void turn(const T* from, std::size_t from_stride, T* to,
                                 std::size_t to_stride) {
    typename VecTraits<T>::Narrow square[side];
    repeat<side>([&](std::size_t i) __attribute__((always_inline)) {
      __builtin_memcpy(&square[i], from + i * from_stride, sizeof square[i]);
    });
    transpose(square);
    repeat<side>([&](std::size_t i) __attribute__((always_inline)) {
      __builtin_memcpy(to + i * to_stride, &square[i], sizeof square[i]);
    });
  }

  alignas(64) T column_[max_cols][rows];
};

// Calls use(first row, count) for the groups in which short rows are handled.
template <class T, class Use>
LAMINA_INLINE void for_short_rows(std::size_t rows, Use use) {
  constexpr std::size_t group = ShortRows<T>::rows;
  for (std::size_t row = 0; row < rows; row += group)
    use(row, rows - row < group ? rows - row : group);
}

template <class T>
LAMINA_INLINE Lanes<T> short_row_max(const ShortRows<T>& x, std::size_t cols) {
  auto best = Lanes<T>::broadcast(minus_infinity<T>);
  for (std::size_t c = 0; c < cols; ++c)
    best = map([](Vec<T> a, Vec<T> b) { return max(a, b); }, best, x[c]);
  return best;
}

// x becomes exp(x - top) where `keep`; the sum of them.
template <class T>
LAMINA_INLINE Lanes<T> short_row_exp_sum(ShortRows<T>& x, std::size_t cols,
                                         const Lanes<T>& top, bool keep) {
  auto sum = Lanes<T>::broadcast(0);
  for (std::size_t c = 0; c < cols; ++c) {
    const auto e =
        map([](Vec<T> v, Vec<T> t) { return exp_nonpositive(v - t); }, x[c], top);
    if (keep) x.set(c, e);
    sum = map([](Vec<T> a, Vec<T> b) { return a + b; }, sum, e);
  }
  return sum;
}

template <class T>
[[gnu::flatten]] void softmax_short(const T* x, T* y, std::size_t rows,
                                    std::size_t cols) {
  for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
    ShortRows<T> z;
    z.load(x + row * cols, count, cols);
    const auto inverse = map([](Vec<T> s) { return 1.0 / s; },
                             short_row_exp_sum(z, cols, short_row_max(z, cols), true));
    for (std::size_t c = 0; c < cols; ++c)
      z.set(c, map([](Vec<T> v, Vec<T> s) { return v * s; }, z[c], inverse));
    z.store(y + row * cols, count, cols);
  });
}

template <class T>
[[gnu::flatten]] void softmax(const T* x, T* y, std::size_t rows, std::size_t cols) {
  if (cols <= ShortRows<T>::max_cols) return softmax_short(x, y, rows, cols);
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < rows; ++row, x += cols, y += cols) {
      const T inverse = 1 / row_exp_sum(length, x, y, cols, row_max(x, cols));
      for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
        store_some(map([=](Vec<T> v) { return v * Vec<T>(inverse); },
                       load_some(y + i, n, T(0))),
                   y + i, n);
      });
    }
  });
}

template <class T>
[[gnu::flatten]] void log_softmax_short(const T* x, T* y, std::size_t rows,
                                        std::size_t cols) {
  for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
    ShortRows<T> z;
    z.load(x + row * cols, count, cols);
    const auto top = short_row_max(z, cols);
    const auto log_sum = map([](Vec<T> s) { return log_of_sum(s); },
                             short_row_exp_sum(z, cols, top, false));
    for (std::size_t c = 0; c < cols; ++c)
      z.set(c, map([](Vec<T> v, Vec<T> t, Vec<T> s) { return (v - t) - s; }, z[c], top,
                   log_sum));
    z.store(y + row * cols, count, cols);
  });
}

template <class T>
[[gnu::flatten]] void log_softmax(const T* x, T* y, std::size_t rows,
                                  std::size_t cols) {
  if (cols <= ShortRows<T>::max_cols) return log_softmax_short(x, y, rows, cols);
  // The logarithms of rows that the first cache holds together, as one vector.
  constexpr std::size_t lanes = Vec<T>::lanes, cache = 1 << 14;
  const std::size_t group = lanes * cols * sizeof(T) <= cache ? lanes : 1;
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < rows; row += group) {
      const std::size_t count = smaller(rows - row, group);
      T top[lanes], log_sum[lanes] = {};
      for (std::size_t r = 0; r < count; ++r) {
        top[r] = row_max(x + r * cols, cols);
        log_sum[r] = row_exp_sum<T>(length, x + r * cols, nullptr, cols, top[r]);
      }
      log_of_sum(Vec<T>::load(log_sum)).store(log_sum);
      for (std::size_t r = 0; r < count; ++r, x += cols, y += cols) {
        const Vec<T> most(top[r]), log(log_sum[r]);
        for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
          store_some(map([=](Vec<T> v) { return (v - most) - log; },
                         load_some(x + i, n, T(0))),
                     y + i, n);
        });
      }
    }
  });
}

// dx = y (dy - sum(dy y))
template <class T>
[[gnu::flatten]] void softmax_backward_short(const T* dy, const T* y, T* dx,
                                             std::size_t rows, std::size_t cols) {
  for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
    ShortRows<T> g, v;
    g.load(dy + row * cols, count, cols);
    v.load(y + row * cols, count, cols);
    auto dot = Lanes<T>::broadcast(0);
    for (std::size_t c = 0; c < cols; ++c)
      dot = map([](Vec<T> s, Vec<T> a, Vec<T> b) { return fma(a, b, s); }, dot, g[c],
                v[c]);
    for (std::size_t c = 0; c < cols; ++c)
      g.set(c, map([](Vec<T> a, Vec<T> b, Vec<T> s) { return b * (a - s); }, g[c], v[c],
                   dot));
    g.store(dx + row * cols, count, cols);
  });
}

// dx = dy - exp(y) sum(dy)
template <class T>
[[gnu::flatten]] void log_softmax_backward_short(const T* dy, const T* y, T* dx,
                                                 std::size_t rows, std::size_t cols) {
  for_short_rows<T>(rows, [=](std::size_t row, std::size_t count) {
    ShortRows<T> g, v;
    g.load(dy + row * cols, count, cols);
    v.load(y + row * cols, count, cols);
    auto total = Lanes<T>::broadcast(0);
    for (std::size_t c = 0; c < cols; ++c)
      total = map([](Vec<T> s, Vec<T> a) { return s + a; }, total, g[c]);
    for (std::size_t c = 0; c < cols; ++c)
      g.set(c, map([](Vec<T> a, Vec<T> b, Vec<T> s) { return fma(-exp(b), s, a); },
                   g[c], v[c], total));
    g.store(dx + row * cols, count, cols);
  });
}

// dx = y (dy - sum(dy y)). Two rows at once, whose chains would not wait for each
// other, take 1.05 to 1.28 of the time; the next row's sum on the way, 0.83 to 1.0 in
// the second-level cache and 1.2 beyond it, where a prefetch of that row gains nothing.
template <class T>
[[gnu::flatten]] void softmax_backward(const T* dy, const T* y, T* dx, std::size_t rows,
                                       std::size_t cols) {
  if (cols <= ShortRows<T>::max_cols)
    return softmax_backward_short(dy, y, dx, rows, cols);
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < rows; ++row, dy += cols, y += cols, dx += cols) {
      const T dot = sum_in_lanes<T>(
          length, cols,
          [=](const Lanes<T>& sum, std::size_t i, std::size_t n)
              __attribute__((always_inline)) {
                return map([](Vec<T> s, Vec<T> g, Vec<T> v) { return fma(g, v, s); },
                           sum, load_some(dy + i, n, T(0)), load_some(y + i, n, T(0)));
              });
      for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
        store_some(map([=](Vec<T> g, Vec<T> v) { return v * (g - Vec<T>(dot)); },
                       load_some(dy + i, n, T(0)), load_some(y + i, n, T(0))),
                   dx + i, n);
      });
    }
  });
}

// dx = dy - exp(y) sum(dy)
template <class T>
[[gnu::flatten]] void log_softmax_backward(const T* dy, const T* y, T* dx,
                                           std::size_t rows, std::size_t cols) {
  if (cols <= ShortRows<T>::max_cols)
    return log_softmax_backward_short(dy, y, dx, rows, cols);
  by_length<T>(cols, [&](auto length) __attribute__((always_inline)) {
    for (std::size_t row = 0; row < rows; ++row, dy += cols, y += cols, dx += cols) {
      const T total =
          sum_in_lanes<T>(length, cols,
                          [=](const Lanes<T>& sum, std::size_t i, std::size_t n)
                              __attribute__((always_inline)) {
                                return map([](Vec<T> s, Vec<T> g) { return s + g; },
                                           sum, load_some(dy + i, n, T(0)));
                              });
      for_lanes<T>(cols, [&](std::size_t i, std::size_t n) {
        store_some(
            map([=](Vec<T> g, Vec<T> v) { return fma(-exp(v), Vec<T>(total), g); },
                load_some(dy + i, n, T(0)), load_some(y + i, n, T(0))),
            dx + i, n);
      });
    }
  });
}

}  // namespace lamina::LAMINA_TARGET
