#include "network/network.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace lamina {

namespace {

using std::size_t;

// As lamina.initializers numbers purposes and streams.
constexpr std::uint64_t dropout_purpose = 0, noise_purpose = 4;
std::uint64_t stream_of(const Draw& draw, std::uint64_t purpose, size_t layer) {
  return draw.step << 32 | purpose << 16 | (layer & 0xffff);
}

template <class T>
void apply_activation(const ActivationChoice& activation, Pass pass, const T* x,
                      const T* saved, T* y, size_t rows, size_t cols) {
  if (!activation.by_row())
    activate(kernels<T>(), pass, activation.index, x, saved, y, rows * cols,
             static_cast<T>(activation.parameter));
  else
    activate_rows(kernels<T>(), pass, activation.row_index(), x, saved, y, rows, cols);
}

template <class T>
void standardize(const Layer<T>& layer, const T* x, size_t rows, T* y) {
  for (size_t row = 0; row < rows; ++row)
    for (size_t j = 0; j < layer.outputs; ++j, ++x, ++y)
      *y = (*x - layer.mean[j]) / layer.scale[j];
}

}  // namespace

template <class T>
Network<T>::Network(std::vector<Layer<T>> layers, T* parameters, T* gradient)
    : layers_(std::move(layers)),
      parameters_(parameters),
      gradient_(gradient),
      lowest_(layers_.size()) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer<T>& layer = layers_[i];
    widest_ = std::max({widest_, layer.inputs, layer.outputs});
    work_ += layer.outputs;
    if (layer.kind != Layer<T>::Kind::dense) continue;
    lowest_ = std::min(lowest_, i);
    sizes_.push_back(layer.inputs * layer.outputs);
    work_ += sizes_.back();
    if (layer.bias != Layer<T>::none) sizes_.push_back(layer.outputs);
  }
  for (const size_t size : sizes_) size_ += size;
}

// Whether the layer is a dropout of relu, which can do without an array of its own and
// without its bits in backward: both gradients are zero where the output is.
template <class T>
bool Network<T>::merges(size_t layer) const {
  if (layer == 0 || layers_[layer].kind != Layer<T>::Kind::dropout) return false;
  const Layer<T>& before = layers_[layer - 1];
  return layers_[layer].mode != DropoutMode::alpha &&
         (before.kind == Layer<T>::Kind::dense ||
          before.kind == Layer<T>::Kind::activation) &&
         !before.activation.by_row() &&
         std::string_view(Activations::infos[before.activation.index].name) == "relu";
}

template <class T>
ActivationChoice Network<T>::activation(size_t layer, bool logits) const {
  return logits && layer + 1 == layers_.size() ? ActivationChoice{}
                                               : layers_[layer].activation;
}

template <class T>
DropoutChoice Network<T>::dropout(size_t layer, const Draw& draw) const {
  const Layer<T>& l = layers_[layer];
  return dropout_choice(l.rate, draw.seed, stream_of(draw, dropout_purpose, layer),
                        draw.first_row * l.outputs, l.mode);
}

template <class T>
size_t Network<T>::bytes(size_t rows) const {
  size_t bytes = Arena::rounded(layers_.size() * sizeof(Trace)) +
                 Arena::rounded(rows * sizeof(std::int64_t)) +
                 Arena::rounded(rows * sizeof(T)) +
                 2 * Arena::rounded(rows * widest_ * sizeof(T));
  for (const Layer<T>& layer : layers_)
    bytes += 2 * Arena::rounded(rows * layer.outputs * sizeof(T));
  return bytes;
}

template <class T>
typename Network<T>::Memory Network<T>::take(Arena::Lease& arena, size_t rows) const {
  Memory memory{.traces = arena.take<Trace>(layers_.size()),
                .labels = arena.take<std::int64_t>(rows),
                .losses = arena.take<T>(rows),
                .gradient = arena.take<T>(rows * widest_),
                .other = arena.take<T>(rows * widest_)};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const size_t size = rows * layers_[i].outputs;
    memory.traces[i] = {.y = arena.take<T>(size), .saved = arena.take<T>(size)};
  }
  return memory;
}

template <class T>
void Network<T>::forward(size_t first, const T* x, size_t rows, bool logits,
                         const Draw& draw, bool merging, const Memory& memory) const {
  using Kind = typename Layer<T>::Kind;
  const Kernels<T>& table = kernels<T>();
  for (size_t i = first; i < layers_.size(); ++i) {
    const Layer<T>& layer = layers_[i];
    Trace& trace = memory.traces[i];
    const T* const in = i > 0 ? memory.traces[i - 1].y : x;
    const size_t size = rows * layer.outputs;
    switch (layer.kind) {
      case Kind::standardize:
        standardize(layer, in, rows, trace.y);
        break;
      case Kind::dense: {
        const ActivationChoice choice = activation(i, logits);
        const bool saves_y = choice.saves_output();
        dense(Matrix<T>::contiguous(in, rows, layer.inputs), kernel(layer), bias(layer),
              choice, nullptr, trace.y, saves_y ? nullptr : trace.saved);
        break;
      }
      case Kind::activation:
        apply_activation<T>(activation(i, logits), Pass::forward, in, nullptr, trace.y,
                            rows, layer.outputs);
        break;
      case Kind::dropout: {
        if (merging && merges(i)) trace.y = memory.traces[i - 1].y;
        const DropoutChoice choice = dropout(i, draw);
        lamina::dropout(table, in, trace.y, size, choice.bits, choice.values);
        break;
      }
      case Kind::noise:
        gaussian_noise(table, in, trace.y, size,
                       {draw.seed, stream_of(draw, noise_purpose, i),
                        draw.first_row * layer.outputs},
                       layer.rate);
        break;
    }
  }
}

template <class T>
void Network<T>::backward(const T* x, size_t rows, bool logits, const Draw& draw,
                          T* gradient, Memory memory) const {
  using Kind = typename Layer<T>::Kind;
  const Kernels<T>& table = kernels<T>();
  bool activation_done = false;  // by the dropout after it
  for (size_t i = layers_.size(); i-- > lowest_;) {
    const Layer<T>& layer = layers_[i];
    const Trace& trace = memory.traces[i];
    const T* const in = i > 0 ? memory.traces[i - 1].y : x;
    T* const dy = memory.gradient;
    const size_t size = rows * layer.outputs;
    const ActivationChoice choice = std::exchange(activation_done, false)
                                        ? ActivationChoice{}
                                        : activation(i, logits);
    switch (layer.kind) {
      case Kind::standardize:
      case Kind::noise:
        break;
      case Kind::dense:
        // In place here: dense_backward, which has to leave dy, would take as much
        // more.
        if (choice.by_row() || choice.index != 0)
          apply_activation<T>(choice, Pass::backward, dy,
                              choice.saves_output() ? trace.y : trace.saved, dy, rows,
                              layer.outputs);
        dense_backward(dy, Matrix<T>::contiguous(in, rows, layer.inputs), kernel(layer),
                       dy, ActivationChoice{}, nullptr,
                       i > lowest_ ? memory.other : nullptr, gradient + layer.kernel,
                       layer.bias == Layer<T>::none ? nullptr : gradient + layer.bias);
        std::swap(memory.gradient, memory.other);
        break;
      case Kind::activation:
        apply_activation<T>(choice, Pass::backward, dy,
                            choice.saves_output() ? trace.y : in, dy, rows,
                            layer.outputs);
        break;
      case Kind::dropout: {
        const DropoutChoice drop = dropout(i, draw);
        activation_done = merges(i);
        if (activation_done)
          relu_dropout_backward(dy, trace.y, dy, size,
                                static_cast<T>(drop.values.scale));
        else
          lamina::dropout(table, dy, dy, size, drop.bits, drop.values.gradient());
        break;
      }
    }
  }
}

template <class T>
const T* Network<T>::infer(const T* x, size_t rows, bool logits, const Packed& packed,
                           T* y, const Memory& memory) const {
  using Kind = typename Layer<T>::Kind;
  const T* in = x;
  auto next = packed.begin();
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer<T>& layer = layers_[i];
    const bool last = i + 1 == layers_.size();
    T* const out = last && y               ? y
                   : in == memory.gradient ? memory.other
                                           : memory.gradient;
    const size_t size = rows * layer.outputs;
    switch (layer.kind) {
      case Kind::standardize:
        standardize(layer, in, rows, out);
        break;
      case Kind::dense:
        if constexpr (std::is_same_v<T, float>) {
          if (!packed.empty()) {
            dense(in, rows, *next++, bias(layer), activation(i, logits), nullptr, out);
            break;
          }
        }
        dense(Matrix<T>::contiguous(in, rows, layer.inputs), kernel(layer), bias(layer),
              activation(i, logits), nullptr, out, static_cast<T*>(nullptr));
        break;
      case Kind::activation:
        apply_activation<T>(activation(i, logits), Pass::forward, in, nullptr, out,
                            rows, layer.outputs);
        break;
      case Kind::dropout:
        if (layer.mode != DropoutMode::classic) continue;
        {
          const auto keep =
              static_cast<T>(1 - dropout(i, Draw{}).bits.threshold / 65536.0);
          for (size_t j = 0; j < size; ++j) out[j] = in[j] * keep;
        }
        break;
      case Kind::noise:
        continue;
    }
    in = out;
  }
  if (y && in != y) {
    std::memcpy(y, in, rows * outputs() * sizeof(T));
    in = y;
  }
  return in;
}

template <class T>
double Network<T>::penalties(double weight, T* gradient) const {
  double sum = 0;
  for (const Layer<T>& layer : layers_)
    if (layer.l1 != 0 || layer.l2 != 0)
      sum += penalty<T>(parameters_ + layer.kernel,
                        gradient ? gradient + layer.kernel : nullptr,
                        layer.inputs * layer.outputs, layer.l1, layer.l2, weight);
  return sum;
}

// What was checked must be what is read: labels are copied.
template <class T>
LossResult Network<T>::loss_of(const Examples<T>& examples, const Goal& goal,
                               const T* outputs, double scale, T* gradient,
                               const Memory& memory) const {
  const size_t rows = examples.rows, classes = this->outputs();
  for (size_t i = 0; examples.labels && i < rows; ++i) {
    const std::int64_t label = memory.labels[i] = examples.labels[i];
    if (label < 0 || static_cast<size_t>(label) >= classes)
      throw std::invalid_argument("labels must lie in [0, " + std::to_string(classes) +
                                  "), got " + std::to_string(label));
  }
  return loss(goal.loss,
              LossRows<T>{.outputs = outputs,
                          .targets = examples.targets,
                          .labels = examples.labels ? memory.labels : nullptr,
                          .weights = examples.weights,
                          .rows = rows,
                          .cols = classes},
              scale, memory.losses, gradient);
}

template <class T>
Scores Network<T>::fill(const Examples<T>& examples, const Goal& goal, const Draw& draw,
                        double weight, T* gradient, const Memory& memory) {
  const size_t rows = examples.rows;
  forward(0, examples.x, rows, goal.logits, draw, true, memory);
  const LossResult result =
      loss_of(examples, goal, memory.traces[layers_.size() - 1].y,
              weight / static_cast<double>(rows), memory.gradient, memory);
  backward(examples.x, rows, goal.logits, draw, gradient, memory);
  const double penalty = penalties(weight, gradient);
  return {.loss = result.sum + penalty * static_cast<double>(rows),
          .correct = result.correct,
          .rows = rows,
          .steps = 1};
}

template <class T>
Scores Network<T>::gradients(const Examples<T>& examples, const Goal& goal,
                             const Draw& draw, double weight, bool accumulate) {
  Arena::Lease arena(arena_, true);
  const size_t copy = accumulate ? Arena::rounded(size_ * sizeof(T)) : 0;
  arena.reserve(bytes(examples.rows) + copy);
  const Memory memory = take(arena, examples.rows);
  T* const target = accumulate ? arena.take<T>(size_) : gradient_;
  const Scores scores = fill(examples, goal, draw, weight, target, memory);
  if (accumulate)
    for (size_t i = 0; i < size_; ++i) gradient_[i] += target[i];
  return scores;
}

template <class T>
bool Network<T>::apply(const OptimizerChoice& optimizer, double rate,
                       std::uint64_t step, T* state) {
  const double norm = clip(optimizer, gradient_, sizes_.data(), sizes_.size());
  if (!std::isfinite(norm)) return false;
  update(optimizer, rate, step, parameters_, gradient_, state, size_);
  for (const Layer<T>& layer : layers_)
    if (std::isfinite(layer.max_norm))
      limit_norms(parameters_ + layer.kernel, layer.inputs, layer.outputs,
                  layer.max_norm);
  return true;
}

template <class T>
void Network<T>::train(const Examples<T>& data, const std::int64_t* order, size_t count,
                       size_t batch, const Goal& goal, Draw draw,
                       const OptimizerChoice& optimizer, const double* rates,
                       std::uint64_t update, T* state, Scores& scores) {
  using Clock = std::chrono::steady_clock;
  // A step is finished before a signal is heard.
  const struct Deaf {
    Poll poll = set_poll(nullptr);
    ~Deaf() { set_poll(poll); }
  } deaf;
  auto polled = Clock::now();

  batch = std::min(batch, count);
  Arena::Lease arena(arena_, true);
  const size_t target_cols = data.targets ? outputs() : 0;
  arena.reserve(bytes(batch) + Arena::rounded(batch * features() * sizeof(T)) +
                Arena::rounded(batch * target_cols * sizeof(T)) +
                Arena::rounded(batch * sizeof(std::int64_t)) +
                Arena::rounded(batch * sizeof(T)));
  T* const x = arena.take<T>(order ? batch * features() : 0);
  T* const targets = arena.take<T>(order ? batch * target_cols : 0);
  auto* const labels = arena.take<std::int64_t>(order ? batch : 0);
  T* const weights = arena.take<T>(order ? batch : 0);
  const size_t mark = arena.mark();

  const auto part = [&](size_t begin, size_t rows) -> Examples<T> {
    if (!order)
      return {data.x + begin * features(),
              data.targets ? data.targets + begin * target_cols : nullptr,
              data.labels ? data.labels + begin : nullptr,
              data.weights ? data.weights + begin : nullptr, rows};
    for (size_t i = 0; i < rows; ++i) {
      const auto row = static_cast<size_t>(order[begin + i]);
      if (row >= data.rows) throw std::out_of_range("rows must be numbers of rows");
      std::memcpy(x + i * features(), data.x + row * features(),
                  features() * sizeof(T));
      if (data.targets)
        std::memcpy(targets + i * target_cols, data.targets + row * target_cols,
                    target_cols * sizeof(T));
      if (data.labels) labels[i] = data.labels[row];
      if (data.weights) weights[i] = data.weights[row];
    }
    return {x, data.targets ? targets : nullptr, data.labels ? labels : nullptr,
            data.weights ? weights : nullptr, rows};
  };

  for (size_t begin = 0; begin < count; begin += batch) {
    const size_t rows = std::min(batch, count - begin);
    arena.return_to(mark);
    const Memory memory = take(arena, rows);
    const Scores of_step = fill(part(begin, rows), goal, draw, 1, gradient_, memory);
    scores.finite = apply(optimizer, rates[scores.steps], update, state);
    if (!scores.finite) break;
    scores.loss += of_step.loss;
    scores.correct += of_step.correct;
    scores.rows += rows;
    ++scores.steps;
    ++draw.step;
    ++update;
    if (!deaf.poll) continue;
    const auto now = Clock::now();
    if (now - polled < std::chrono::milliseconds(50)) continue;
    polled = now;
    if (deaf.poll()) break;
  }
}

template <class T>
void Network<T>::predict(const T* x, size_t rows, size_t chunk,
                         const Bfloat16Kernels* bfloat16, T* y) {
  Packed packed;
  if constexpr (std::is_same_v<T, float>)
    for (const Layer<T>& layer : layers_)
      if (bfloat16 && layer.kind == Layer<T>::Kind::dense)
        packed.emplace_back(parameters_ + layer.kernel, layer.inputs, layer.outputs,
                            bfloat16);
  chunk = std::min(chunk, rows);
  Arena::Lease arena(arena_);
  arena.reserve(bytes(chunk));
  const Memory memory = take(arena, chunk);
  for (size_t begin = 0; begin < rows; begin += chunk)
    infer(x + begin * features(), std::min(chunk, rows - begin), false, packed,
          y + begin * outputs(), memory);
}

template <class T>
Scores Network<T>::evaluate(const Examples<T>& data, const Goal& goal, size_t chunk) {
  chunk = std::min(chunk, data.rows);
  Arena::Lease arena(arena_);
  arena.reserve(bytes(chunk));
  const Memory memory = take(arena, chunk);
  Scores scores;
  for (size_t begin = 0; begin < data.rows; begin += chunk) {
    const size_t rows = std::min(chunk, data.rows - begin);
    const T* y =
        infer(data.x + begin * features(), rows, goal.logits, {}, nullptr, memory);
    const Examples<T> part{nullptr,
                           data.targets ? data.targets + begin * outputs() : nullptr,
                           data.labels ? data.labels + begin : nullptr,
                           data.weights ? data.weights + begin : nullptr, rows};
    const LossResult result = loss_of(part, goal, y, 1, nullptr, memory);
    scores.loss += result.sum;
    scores.correct += result.correct;
    scores.rows += rows;
  }
  scores.loss += penalties(0, nullptr) * static_cast<double>(data.rows);
  return scores;
}

template <class T>
void Network<T>::sample(const T* x, size_t rows, size_t chunk, size_t samples,
                        Draw draw, T* mean, T* deviation) {
  using Kind = typename Layer<T>::Kind;
  size_t random = 0;  // what comes before is the same in every pass
  while (random < layers_.size() && layers_[random].kind != Kind::dropout &&
         layers_[random].kind != Kind::noise)
    ++random;
  chunk = std::min(chunk, rows);
  const size_t terms = chunk * outputs();
  Arena::Lease arena(arena_);
  arena.reserve(bytes(chunk) + 2 * Arena::rounded(terms * sizeof(double)));
  const Memory memory = take(arena, chunk);
  auto* const centre = arena.take<double>(terms);
  auto* const square = arena.take<double>(terms);
  for (size_t begin = 0; begin < rows; begin += chunk) {
    const size_t now = std::min(chunk, rows - begin), size = now * outputs();
    std::fill_n(centre, size, 0.0);
    std::fill_n(square, size, 0.0);
    draw.first_row = begin;
    for (size_t s = 0; s < samples; ++s) {
      draw.step = s;
      forward(s == 0 ? 0 : random, x + begin * features(), now, false, draw, false,
              memory);
      const T* y = memory.traces[layers_.size() - 1].y;
      for (size_t i = 0; i < size; ++i) {  // Welford 1962
        const double from = y[i] - centre[i];
        centre[i] += from / static_cast<double>(s + 1);
        square[i] += from * (y[i] - centre[i]);
      }
    }
    T* const to = mean + begin * outputs();
    T* const spread = deviation + begin * outputs();
    for (size_t i = 0; i < size; ++i) {
      to[i] = static_cast<T>(centre[i]);
      spread[i] = static_cast<T>(std::sqrt(square[i] / static_cast<double>(samples)));
    }
  }
}

template class Network<float>;
template class Network<double>;

}  // namespace lamina
