// The one loop over arrays, and the four kernels that every
// activation gets from them. Included by target.cpp alone.
#pragma once

#include "activations.hpp"
#include "simd/math.hpp"
#include "simd/registers.hpp"
#include "simd/vec.hpp"

namespace lamina::LAMINA_TARGET {

// y[i] = f(x[i], ...), f of a Vec or a Pair. Three vectors a turn, side by side: the
// chains of operations of one or two leave the units idle (8 to 15 % slower), long ones
// of four need more registers than are.
// `once`: each vector is loaded by an instruction of its own (Vec::load_once).
template <bool once = true, std::size_t turn = 3, class T, class Function, class... In>
LAMINA_INLINE void transform(T* y, std::size_t n, Function f, const In*... x) {
  using V = Vec<T>;
  using Turn = typename SideBySide<V, turn>::type;
  const auto load = [](const T* p, std::size_t i) {
    return once ? Turn::load_once(p, i) : Turn::load(p, i);
  };
  std::size_t i = before_border(y, n);
  if (i > 0) f(V::load_first(x, i)...).store_first(y, i);
  for (; i + Turn::lanes <= n; i += Turn::lanes) f(load(x, i)...).store(y, i);
  for (; i + V::lanes <= n; i += V::lanes) f(V::load(x + i)...).store(y + i);
  if (i < n) f(V::load_first(x + i, n - i)...).store_first(y + i, n - i);
}

// A copy past the caches; `to` begins at a border of 64 bytes, n is a multiple of 64 /
// T.
template <class T>
void stream(const T* from, T* to, std::size_t n) {
  for (std::size_t i = 0; i < n; i += Vec<T>::lanes)
    Vec<T>::load(from + i).stream(to + i);
}

template <class T>
[[gnu::flatten]] void add(const T* a, const T* b, T* y, std::size_t n) {
  transform<false>(y, n, [](auto v, auto w) { return v + w; }, a, b);
}

// Where moving data is most of the work: 0.07 in Info::cycles. Formulas that take
// longer lose a hundredth by loads of their own.
template <class A>
constexpr bool is_light = A::info.cycles < 0.1;

// Mostly two or three operations on an output, which they use several times. It is
// loaded once, and six vectors a turn make up for that instruction, but on AVX-512,
// where they lose a twentieth: sigmoid and tanh take 0.8 to 0.95 of the time; what has
// a parameter would take up to 1.09.
template <class A>
constexpr bool has_short_derivative =
    !is_light<A> && A::info.saves == Saves::output && A::info.parameter.name == nullptr;

template <class A, class T>
LAMINA_INLINE A with_parameter([[maybe_unused]] T parameter) {
  if constexpr (A::info.parameter.name != nullptr)
    return A{static_cast<double>(parameter)};
  else
    return A{};
}

// `flatten` inlines the formulas, which are plain templates, into the loop.

// A function, for the epilogue calls it: its own copies would be a twelfth of all code.
template <class A, class T>
[[gnu::flatten, gnu::noinline]] void forward(const T* x, T* y, std::size_t n,
                                             T parameter) {
  const A activation = with_parameter<A>(parameter);
  transform<is_light<A>>(y, n, [=](auto v) { return activation.forward(v); }, x);
}

template <class A, class T>
[[gnu::flatten]] void derivative(const T* x, T* y, std::size_t n, T parameter) {
  const A activation = with_parameter<A>(parameter);
  if (saves_output(A::info, static_cast<double>(parameter)))
    transform<is_light<A>>(
        y, n, [=](auto v) { return activation.derivative(activation.forward(v)); }, x);
  else
    transform<is_light<A>>(y, n, [=](auto v) { return activation.derivative(v); }, x);
}

template <class A, class T>
[[gnu::flatten]] void backward(const T* dy, const T* saved, T* dx, std::size_t n,
                               T parameter) {
  const A activation = with_parameter<A>(parameter);
  if constexpr (__is_same(A, Identity))  // whatever was saved
    transform(dx, n, [](auto g) { return g; }, dy);
  else if constexpr (has_short_derivative<A>)
    transform<false, many_registers ? 3 : 6>(
        dx, n, [=](auto g, auto s) { return g * activation.derivative(s.loaded()); },
        dy, saved);
  else
    transform<is_light<A>>(
        dx, n, [=](auto g, auto s) { return g * activation.derivative(s); }, dy, saved);
}

// Bias and activation over finished rows of a product: in one pass, or two where what
// is activated is kept.
template <class A, class T>
[[gnu::flatten]] void epilogue(T* z, const T* bias, T* saved, std::size_t rows,
                               std::size_t cols, T parameter) {
  const A activation = with_parameter<A>(parameter);
  if (bias && cols == 1) {  // added to a vector of rows at a time
    transform(z, rows, [b = Vec<T>(*bias)](auto v) { return v + b; }, z);
    bias = nullptr;
  }
  if (!bias) {
    if (saved) transform(saved, rows * cols, [](auto v) { return v; }, z);
    return forward<A>(z, z, rows * cols, parameter);
  }
  if (saved) {
    for (std::size_t at = 0; at < rows * cols; at += cols)
      transform(saved + at, cols, [](auto v, auto b) { return v + b; }, z + at, bias);
    return forward<A>(saved, z, rows * cols, parameter);
  }
  for (std::size_t row = 0; row < rows; ++row, z += cols)
    transform<is_light<A>>(
        z, cols, [=](auto v, auto b) { return activation.forward(v + b); }, z, bias);
}

}  // namespace lamina::LAMINA_TARGET
