#include "network/network.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace lamina {

using std::size_t;

std::vector<Kind>& Kind::all() {
  static std::vector<Kind> kinds;
  return kinds;
}

template <class T>
Network<T>::Network(Layers layers, T* parameters, T* gradient, size_t first)
    : layers_(std::move(layers)),
      partner_(layers_.size()),
      parameters_(parameters),
      gradient_(gradient),
      lowest_(layers_.size()),
      entry_(0) {
  using Sparse = typename Layer<T>::Sparse;
  while (entry_ < layers_.size() && layers_[entry_]->sparse() == Sparse::keeps)
    ++entry_;
  if (entry_ < layers_.size() && layers_[entry_]->sparse() != Sparse::takes)
    entry_ = layers_.size();
  std::vector<size_t> open;  // blocks
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer<T>& layer = *layers_[i];
    layer.index = first + i;
    layer.parameters = parameters_ + size_;
    layer.joined = i > 0 && layer.joins(*layers_[i - 1]);
    if (layer.block == Block::begin) open.push_back(i);
    if (layer.block == Block::end) {
      if (open.empty()) throw std::invalid_argument("a block must begin");
      partner_[i] = open.back();
      partner_[open.back()] = i;
      open.pop_back();
    }
    work_ += layer.work;
    if (layer.sizes.empty()) continue;
    if (layer.trainable) lowest_ = std::min(lowest_, i);
    layer.factors.resize(layer.sizes.size());
    sizes_.insert(sizes_.end(), layer.sizes.begin(), layer.sizes.end());
    std::vector<Span>& spans = layer.trainable ? learning_ : held_;
    for (size_t k = 0; k < layer.sizes.size(); size_ += layer.sizes[k++]) {
      const Span span{size_, layer.sizes[k], layer.factors[k]};
      if (!spans.empty() && spans.back().first + spans.back().size == size_ &&
          spans.back().factors == span.factors)
        spans.back().size += span.size;
      else
        spans.push_back(span);
    }
  }
  if (!open.empty()) throw std::invalid_argument("a block must end");
}

template <class T>
size_t Network<T>::widest(bool sparse) const {
  size_t widest = sparse ? 0 : features();
  for (size_t i = sparse ? entry_ : 0; i < layers_.size(); ++i)
    widest = std::max(widest, layers_[i]->outputs);
  return widest;
}

template <class T>
size_t Network<T>::bytes(size_t rows, bool sparse) const {
  size_t bytes = Arena::rounded(layers_.size() * sizeof(Trace)) +
                 Arena::rounded(rows * sizeof(std::int64_t)) +
                 Arena::rounded(rows * sizeof(T)) +
                 2 * Arena::rounded(rows * widest(sparse) * sizeof(T));
  for (size_t i = sparse ? entry_ : 0; i < layers_.size(); ++i)
    bytes += Arena::rounded(rows * layers_[i]->outputs * sizeof(T)) +
             Arena::rounded(layers_[i]->saves(rows) * sizeof(T));
  return bytes;
}

template <class T>
typename Network<T>::Memory Network<T>::take(Arena::Lease& arena, size_t rows,
                                             SparseInputs<T>* sparse) const {
  const size_t widest = this->widest(sparse != nullptr);
  Memory memory{.traces = arena.take<Trace>(layers_.size()),
                .labels = arena.take<std::int64_t>(rows),
                .losses = arena.take<T>(rows),
                .gradient = arena.take<T>(rows * widest),
                .other = arena.take<T>(rows * widest),
                .sparse = sparse};
  for (size_t i = sparse ? entry_ : 0; i < layers_.size(); ++i) {
    T* const room = arena.take<T>(rows * layers_[i]->outputs);
    memory.traces[i] = {
        .room = room, .saved = arena.take<T>(layers_[i]->saves(rows)), .y = room};
  }
  return memory;
}

template <class T>
void Network<T>::enter(SparseInputs<T>& x, const std::int64_t* order, size_t first,
                       const Batch& batch) const {
  x.take(order, first, batch.rows);
  for (size_t i = 0; i < entry_; ++i) layers_[i]->change(batch, x.rows);
}

template <class T>
void Network<T>::pass_entry(const SparseInputs<T>& x, Batch batch, bool logits, T* y,
                            T* saved) const {
  batch.bare = logits && is_last(entry_);
  layers_[entry_]->forward_sparse(batch, x.rows.view(), y, saved);
}

template <class T>
const T* Network<T>::forward(size_t first, const T* x, Batch batch, bool logits,
                             bool joining, const Memory& memory) const {
  if (memory.sparse) {
    const Trace& trace = memory.traces[entry_];
    pass_entry(*memory.sparse, batch, logits, trace.room, trace.saved);
    first = entry_ + 1;
  }
  const T* in = first > 0 ? memory.traces[first - 1].y : x;
  for (size_t i = first; i < layers_.size(); ++i) {
    const Layer<T>& layer = *layers_[i];
    Trace& trace = memory.traces[i];
    if (joining && layer.joined) trace.room = memory.traces[i - 1].room;
    batch.bare = logits && is_last(i);
    in = trace.y = layer.forward(batch, in, trace.room, trace.saved);
    if (layer.block == Block::end) {
      const T* const before = memory.traces[partner_[i]].y;
      add(before, in, trace.room, batch.rows * layer.outputs);
      in = trace.y = trace.room;
    }
  }
  return in;
}

template <class T>
const T* Network<T>::backward(const T* x, Batch batch, bool logits, bool down,
                              T* gradient, Memory memory) const {
  const size_t last = down ? 0 : lowest_;
  T *dy = memory.gradient, *other = memory.other;
  for (size_t i = layers_.size(); i-- > last;) {
    const Layer<T>& layer = *layers_[i];
    const Trace& trace = memory.traces[i];
    batch.bare = is_last(i) ? logits : batch.training && layers_[i + 1]->joined;
    if (memory.sparse && i == entry_) {
      if (T* const to = own(i, gradient)) {
        layer.backward_sparse(batch, trace.y, trace.saved, dy, to);
        memory.sparse->backward(dy, layer.outputs, to);
      }
      break;
    }
    const bool wanted = i > last || down;
    const size_t size = batch.rows * layer.outputs;
    if (layer.block == Block::end) std::memcpy(trace.room, dy, size * sizeof(T));
    T* const dx =
        layer.backward(batch, i > 0 ? memory.traces[i - 1].y : x, trace.y, trace.saved,
                       dy, wanted ? other : nullptr, own(i, gradient));
    if (dx != dy) std::swap(dy, other);
    if (layer.block == Block::begin && wanted)
      add<T>(dy, memory.traces[partner_[i]].room, dy, size);
  }
  for (const Span& span : held_)
    if (gradient) std::fill_n(gradient + span.first, span.size, T(0));
  return dy;
}

template <class T>
const T* Network<T>::infer(const T* x, size_t rows, bool logits, const Packed& packed,
                           T* y, const Memory& memory) const {
  Batch batch{.rows = rows, .draw = {}, .training = false};
  const T* in = x;
  size_t first = 0;
  if (memory.sparse) {
    T* const out = is_last(entry_) && y ? y : memory.gradient;
    pass_entry(*memory.sparse, batch, logits, out, nullptr);
    in = out;
    first = entry_ + 1;
  }
  for (size_t i = first; i < layers_.size(); ++i) {
    T* const out = is_last(i) && y         ? y
                   : in == memory.gradient ? memory.other
                                           : memory.gradient;
    batch.bare = logits && is_last(i);
    batch.packed = !packed.empty() && packed[i] ? &*packed[i] : nullptr;
    const Layer<T>& layer = *layers_[i];
    const size_t size = rows * layer.outputs;
    in = layer.forward(batch, in, out, nullptr);
    if (layer.block == Block::begin)
      std::memcpy(memory.traces[i].room, in, size * sizeof(T));
    if (layer.block == Block::end) {
      add<T>(memory.traces[partner_[i]].room, in, out, size);
      in = out;
    }
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
  for (size_t i = 0; i < layers_.size(); ++i)
    sum += layers_[i]->penalty(weight, own(i, gradient));
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
typename Network<T>::Mean Network<T>::mean(const Examples<T>& examples,
                                           const Goal& goal) {
  const auto rows = static_cast<double>(examples.rows);
  if (goal.per_weight == 0) return {.factor = 1, .losses = rows, .penalties = 1};
  double sum = examples.weights ? 0 : rows;
  for (size_t i = 0; examples.weights && i < examples.rows; ++i)
    sum += static_cast<double>(examples.weights[i]);
  if (sum == 0) sum = std::numeric_limits<double>::infinity();  // nothing counts
  return {.factor = goal.per_weight, .losses = sum, .penalties = sum};
}

template <class T>
Scores Network<T>::fill(const Examples<T>& examples, const Goal& goal,
                        Products products, const Draw& draw, double weight, T* gradient,
                        const Memory& memory) {
  const size_t rows = examples.rows;
  const Batch batch{.rows = rows, .draw = draw, .training = true, .products = products};
  const T* const outputs = forward(0, examples.x, batch, goal.logits, true, memory);
  const Mean mean = this->mean(examples, goal);
  const LossResult result =
      loss_of(examples, goal, outputs, weight * mean.factor / mean.losses,
              memory.gradient, memory);
  backward(examples.x, batch, goal.logits, false, gradient, memory);
  const auto n = static_cast<double>(rows);
  const double penalty =
      penalties(weight / mean.penalties, gradient) * (n / mean.penalties);
  return {.loss = result.sum * mean.factor * (n / mean.losses) + penalty,
          .correct = result.correct,
          .penalty = penalty,
          .rows = rows,
          .steps = 1};
}

template <class T>
template <class Work>
auto Network<T>::filling(size_t rows, bool accumulate, Work work, const Csr* sparse) {
  Arena::Lease arena(arena_, true);
  const size_t copy = accumulate ? Arena::rounded(size_ * sizeof(T)) : 0;
  const size_t entries = sparse ? most_entries(*sparse, nullptr, rows, rows) : 0;
  arena.reserve(bytes(rows, sparse) + copy +
                (sparse ? SparseInputs<T>::bytes(*sparse, rows, entries, true) : 0));
  std::optional<SparseInputs<T>> inputs;
  if (sparse) inputs.emplace(arena, *sparse, rows, entries, true);
  const Memory memory = take(arena, rows, inputs ? &*inputs : nullptr);
  T* const target = accumulate ? arena.take<T>(size_) : gradient_;
  const auto result = work(memory, target);
  if (accumulate)
    for (size_t i = 0; i < size_; ++i) gradient_[i] += target[i];
  return result;
}

template <class T>
Scores Network<T>::gradients(const Examples<T>& examples, const Goal& goal,
                             const Draw& draw, double weight, bool accumulate) {
  const auto work = [&](const Memory& memory, T* target) {
    if (memory.sparse) {
      enter(*memory.sparse, nullptr, 0,
            {.rows = examples.rows, .draw = draw, .training = true});
      memory.sparse->group();
    }
    return fill(examples, goal, {}, draw, weight, target, memory);
  };
  return filling(examples.rows, accumulate, work, examples.sparse);
}

template <class T>
void Network<T>::gradients(const Examples<T>& examples, const Goal& goal,
                           const Draw& draw, size_t rows, const Shards& shards,
                           Scores* scores) {
  filling(examples.rows, false, [&](const Memory& memory, T* target) {
    const Batch batch{
        .rows = examples.rows, .draw = draw, .training = true, .shards = &shards};
    const T* const y = forward(0, examples.x, batch, goal.logits, true, memory);
    for (size_t i = 0; i < shards.count; ++i) {
      const size_t first = shards.begin(i), at = first * outputs();
      const Examples<T> own{nullptr, examples.targets ? examples.targets + at : nullptr,
                            examples.labels ? examples.labels + first : nullptr,
                            examples.weights ? examples.weights + first : nullptr,
                            shards.rows(i)};
      const Mean mean = this->mean(own, goal);
      const auto n = static_cast<double>(own.rows);
      const double weight = n / static_cast<double>(rows);
      const LossResult result =
          loss_of(own, goal, y + at, weight * mean.factor / mean.losses,
                  memory.gradient + at, memory);
      scores[i] = {.loss = result.sum * mean.factor * (n / mean.losses),
                   .correct = result.correct,
                   .rows = own.rows,
                   .steps = 1};
    }
    return backward(examples.x, batch, goal.logits, false, target, memory);
  });
}

// Products of up to four rows have sums of their own (dot_product.hpp).
template <class T>
bool Network<T>::adds_shards(size_t rows) const {
  return rows > 4 && std::all_of(layers_.begin(), layers_.end(), [](const auto& layer) {
           return layer->adds_shards();
         });
}

template <class T>
bool Network<T>::forward(const T* x, size_t rows, const Draw& draw, bool training,
                         T* y) {
  Arena::Lease arena(arena_);
  arena.reserve(bytes(rows));
  const Memory memory = take(arena, rows);
  const Batch batch{.rows = rows, .draw = draw, .training = training};
  const T* found = forward(0, x, batch, false, training, memory);
  if (found == x) return true;
  std::memcpy(y, found, rows * outputs() * sizeof(T));
  return false;
}

template <class T>
void Network<T>::backward(const T* x, size_t rows, const T* dy, const Draw& draw,
                          bool training, bool fill, bool accumulate, T* dx) {
  filling(rows, fill && accumulate, [&](const Memory& memory, T* target) {
    const Batch batch{.rows = rows, .draw = draw, .training = training};
    forward(0, x, batch, false, training, memory);
    std::memcpy(memory.gradient, dy, rows * outputs() * sizeof(T));
    const T* found =
        backward(x, batch, false, dx != nullptr, fill ? target : nullptr, memory);
    if (dx) std::memcpy(dx, found, rows * features() * sizeof(T));
    return found;
  });
}

template <class T>
void Network<T>::input_gradient(const Examples<T>& examples, const Goal& goal,
                                const Draw& draw, bool training, T* dx) {
  const size_t rows = examples.rows;
  Arena::Lease arena(arena_);
  arena.reserve(bytes(rows));
  const Memory memory = take(arena, rows);
  const Batch batch{.rows = rows, .draw = draw, .training = training};
  const T* const outputs = forward(0, examples.x, batch, goal.logits, training, memory);
  const Mean mean = this->mean(examples, goal);
  loss_of(examples, goal, outputs, mean.factor / mean.losses, memory.gradient, memory);
  const T* found = backward(examples.x, batch, goal.logits, true, nullptr, memory);
  std::memcpy(dx, found, rows * features() * sizeof(T));
}

template <class T>
bool Network<T>::apply(const OptimizerChoice& optimizer, double rate,
                       std::uint64_t step, T* state) {
  return apply(optimizer, {rate, optimizer.weight_decay}, step, state, false);
}

template <class T>
bool Network<T>::apply(const OptimizerChoice& optimizer, const Pace& pace,
                       std::uint64_t update, T* state, bool kernel_has) {
  const double norm = clip(optimizer, gradient_, sizes_.data(), sizes_.size());
  if (!std::isfinite(norm)) return false;
  const Span waiting = kernel_has ? entry_kernel() : Span{size_, 0, {}};
  move(optimizer, pace, update, state, 0, waiting.first);
  move(optimizer, pace, update, state, waiting.first + waiting.size, size_);
  for (const auto& layer : layers_)
    if (layer->trainable) layer->limit();
  return true;
}

namespace {
bool clips(const OptimizerChoice& rule) {
  return !std::isinf(rule.clip_value) || !std::isinf(rule.clip_norm) ||
         !std::isinf(rule.global_clip_norm);
}
}  // namespace

template <class T>
void Network<T>::move(const OptimizerChoice& rule, const Pace& pace,
                      std::uint64_t update, T* state, size_t begin, size_t end) {
  for (const auto& [first, size, factors] : learning_) {
    const size_t from = std::max(begin, first), to = std::min(end, first + size);
    if (from < to)
      lamina::update(rule, pace * factors, update, parameters_ + from, gradient_ + from,
                     state + from, to - from, size_);
  }
}

template <class T>
void Network<T>::apply(const OptimizerChoice& rule, double rate, std::uint64_t update,
                       T* state, size_t begin, size_t end) {
  move(rule, {rate, rule.weight_decay}, update, state, begin, end);
}

template <class T>
bool Network<T>::updates_apart(const OptimizerChoice& rule) const {
  return !clips(rule) && std::all_of(layers_.begin(), layers_.end(),
                                     [](const auto& each) { return each->rests(); });
}

template <class T>
bool Network<T>::may_wait(const OptimizerChoice& rule) const {
  const Layer<T>& entry = *layers_[entry_];
  return entry.trainable && entry.rests() && !clips(rule) &&
         WaitingRows<T>::suits(rule, entry.outputs);
}

template <class T>
void Network<T>::train(const Examples<T>& data, const std::int64_t* order, size_t count,
                       size_t batch, const Goal& goal, Products products, Draw draw,
                       const OptimizerChoice& optimizer, const Paces& paces,
                       std::uint64_t update, T* state, const Average<T>& average,
                       Scores& scores) {
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
  const size_t cols = data.sparse ? 0 : features();
  const size_t entries =
      data.sparse ? most_entries(*data.sparse, order, count, batch) : 0;
  const size_t steps = (count + batch - 1) / batch;
  const bool waits = data.sparse && !average.values && may_wait(optimizer);
  arena.reserve(
      bytes(batch, data.sparse) + Arena::rounded(batch * cols * sizeof(T)) +
      Arena::rounded(batch * target_cols * sizeof(T)) +
      Arena::rounded(batch * sizeof(std::int64_t)) + Arena::rounded(batch * sizeof(T)) +
      (data.sparse ? SparseInputs<T>::bytes(*data.sparse, batch, entries, true) : 0) +
      (waits ? WaitingRows<T>::bytes(features(), steps) : 0));
  std::optional<SparseInputs<T>> sparse;
  std::optional<WaitingRows<T>> waiting;
  if (data.sparse) {
    sparse.emplace(arena, *data.sparse, batch, entries, true);
    sparse->alone = layers_[entry_]->rests();
  }
  if (waits) {
    const auto [first, size, factors] = entry_kernel();
    sparse->waiting = &waiting.emplace(arena, features(), layers_[entry_]->outputs,
                                       parameters_ + first, state + first, size_,
                                       optimizer, paces, factors, update, steps);
  }
  const struct Finish {
    const Network& net;
    std::optional<SparseInputs<T>>& sparse;
    ~Finish() {
      if (!sparse) return;
      const size_t first = net.entry_kernel().first;
      sparse->finish(net.layers_[net.entry_]->outputs, net.gradient_ + first);
    }
  } finish{*this, sparse};
  T* const x = arena.take<T>(order ? batch * cols : 0);
  T* const targets = arena.take<T>(order ? batch * target_cols : 0);
  auto* const labels = arena.take<std::int64_t>(order ? batch : 0);
  T* const weights = arena.take<T>(order ? batch : 0);
  const size_t mark = arena.mark();

  const auto part = [&](size_t begin, size_t rows) -> Examples<T> {
    if (!order)
      return {data.sparse ? nullptr : data.x + begin * cols,
              data.targets ? data.targets + begin * target_cols : nullptr,
              data.labels ? data.labels + begin : nullptr,
              data.weights ? data.weights + begin : nullptr, rows};
    for (size_t i = 0; i < rows; ++i) {
      const auto row = static_cast<size_t>(order[begin + i]);
      if (row >= data.rows) throw std::out_of_range("rows must be numbers of rows");
      if (!data.sparse)
        std::memcpy(x + i * cols, data.x + row * cols, cols * sizeof(T));
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
    const Memory memory = take(arena, rows, sparse ? &*sparse : nullptr);
    if (sparse) {
      enter(*sparse, order ? order + begin : nullptr, begin,
            {.rows = rows, .draw = draw, .training = true});
      sparse->group();
    }
    const Scores of_step =
        fill(part(begin, rows), goal, products, draw, 1, gradient_, memory);
    scores.finite = apply(optimizer, paces[scores.steps], update, state, waits);
    if (!scores.finite) break;
    if (average.values) follow(parameters_, average.values, size_, average.share);
    scores.loss += of_step.loss;
    scores.correct += of_step.correct;
    scores.penalty += of_step.penalty;
    scores.rows += rows;
    ++scores.steps;
    ++draw.step;
    if (draw.shares) draw.shares += places();
    ++update;
    if (!deaf.poll) continue;
    const auto now = Clock::now();
    if (now - polled < std::chrono::milliseconds(50)) continue;
    polled = now;
    if (deaf.poll()) break;
  }
}

template <class T>
bool Network<T>::is_narrow(size_t rows, Products products) const {
  const Batch batch{.rows = rows, .draw = {}, .training = true, .products = products};
  return std::any_of(layers_.begin(), layers_.end(),
                     [&](const auto& layer) { return layer->is_narrow(batch); });
}

template <class T>
template <class Work>
void Network<T>::inferring(const T* x, const Csr* rows, size_t count, size_t chunk,
                           Work work) {
  // Entries that are taken stay in the cache until they are multiplied.
  chunk = std::min(chunk, rows ? std::min<size_t>(count, 128) : count);
  Arena::Lease arena(arena_);
  const size_t entries = rows ? most_entries(*rows, nullptr, count, chunk) : 0;
  arena.reserve(bytes(chunk, rows) +
                (rows ? SparseInputs<T>::bytes(*rows, chunk, entries, false) : 0));
  std::optional<SparseInputs<T>> sparse;
  if (rows) sparse.emplace(arena, *rows, chunk, entries, false);
  const Memory memory = take(arena, chunk, sparse ? &*sparse : nullptr);
  for (size_t begin = 0; begin < count; begin += chunk) {
    const size_t now = std::min(chunk, count - begin);
    if (sparse)
      enter(*sparse, nullptr, begin, {.rows = now, .draw = {}, .training = false});
    work(sparse ? nullptr : x + begin * features(), begin, now, memory);
  }
}

template <class T>
void Network<T>::predict(const T* x, const Csr* sparse, size_t rows, size_t chunk,
                         const Bfloat16Kernels* bfloat16, T* y) {
  Packed packed;
  for (size_t i = 0; bfloat16 && i < layers_.size(); ++i)
    packed.push_back(sparse && i == entry_ ? std::nullopt
                                           : layers_[i]->pack(*bfloat16));
  inferring(x, sparse, rows, chunk,
            [&](const T* part, size_t begin, size_t now, const Memory& memory) {
              infer(part, now, false, packed, y + begin * outputs(), memory);
            });
}

template <class T>
Scores Network<T>::evaluate(const Examples<T>& data, const Goal& goal, size_t chunk) {
  Scores scores;
  inferring(data.x, data.sparse, data.rows, chunk,
            [&](const T* x, size_t begin, size_t rows, const Memory& memory) {
              const T* y = infer(x, rows, goal.logits, {}, nullptr, memory);
              const Examples<T> part{
                  nullptr, data.targets ? data.targets + begin * outputs() : nullptr,
                  data.labels ? data.labels + begin : nullptr,
                  data.weights ? data.weights + begin : nullptr, rows};
              const LossResult result = loss_of(part, goal, y, 1, nullptr, memory);
              scores.loss += result.sum;
              scores.correct += result.correct;
              scores.rows += rows;
            });
  const Mean mean = this->mean(data, goal);
  const auto n = static_cast<double>(data.rows);
  scores.penalty = penalties(0, nullptr) * (n / mean.penalties);
  scores.loss = scores.loss * mean.factor * (n / mean.losses) + scores.penalty;
  return scores;
}

template <class T>
void Network<T>::sample(const T* x, size_t rows, size_t chunk, size_t samples,
                        Draw draw, T* mean, T* deviation) {
  size_t random = 0;  // what comes before is the same in every pass
  while (random < layers_.size() && !layers_[random]->random) ++random;
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
      const Batch batch{.rows = now, .draw = draw, .training = true, .sampling = true};
      forward(s == 0 ? 0 : random, x + begin * features(), batch, false, false, memory);
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
