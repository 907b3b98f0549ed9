#include "ops/bfloat16.hpp"

#include "ops/scratch.hpp"

namespace lamina {

namespace {

constexpr std::size_t width = Bfloat16Panels::width;

using Pack = void(const float* matrix, std::size_t stride, const Bfloat16Panels&,
                  Bfloat16Pair* panels);

// `step` elements of the matrix lie between two columns of the shape.
void pack(Pack* kernel, const float* matrix, std::size_t stride, std::size_t step,
          const Bfloat16Panels& shape, Bfloat16Pair* panels) {
  const std::size_t units = (shape.cols + width - 1) / width;
  const double cycles = static_cast<double>(shape.depth * width) / 4;
  parallel(units, cycles, workers_for(units, cycles),
           [&](std::size_t first, std::size_t count, std::size_t) {
             const std::size_t begin = first * width;
             const std::size_t cols = std::min(count * width, shape.cols - begin);
             kernel(matrix + begin * step, stride, {shape.depth, cols},
                    panels + begin * shape.pairs());
           });
}

}  // namespace

PanelParts::PanelParts(std::size_t rows, std::size_t depth, std::size_t cols,
                       std::size_t block, double per_cycle)
    : rows_(rows),
      cols_(cols),
      by_columns_(cols / width > rows / block),
      unit_(by_columns_ ? width : block) {
  const std::size_t extent = by_columns_ ? cols : rows;
  units_ = std::max<std::size_t>((extent + unit_ - 1) / unit_, 1);
  cycles_ = static_cast<double>(rows * depth * cols) / static_cast<double>(units_) /
            per_cycle;
  workers_ = workers_for(units_, cycles_);
}

// A part of the columns converts the whole of x: 1 % of its time, 5 % with a single
// panel.
Bfloat16Parts::Bfloat16Parts(const Bfloat16Kernels& kernels,
                             const Bfloat16Product& whole)
    : product(whole),
      kernels_(kernels),
      parts_(whole.rows, whole.depth, whole.cols, whole.x ? 48 : width, 32),
      own_(kernels.scratch(whole)) {}

void Bfloat16Parts::run(Bfloat16Pair* scratch) const {
  const std::size_t pairs = (product.depth + 1) / 2;
  parts_.run([&](std::size_t row, std::size_t rows, std::size_t col, std::size_t cols,
                 std::size_t worker) {
    Bfloat16Product p = product;
    p.rows = rows;
    p.cols = cols;
    if (p.x)
      p.x += row * p.depth;
    else
      p.x_panels += row * pairs;
    p.panels += col * pairs;
    p.y += row * p.y_stride + col;
    p.scratch = scratch + worker * own_;
    kernels_.product(p);
  });
}

// Each layer of steps of (rows, inputs, outputs), on a Zen 5 core, gains 6 % at
// (24,32,32), a third at (32,64,64), two thirds at (256,64,64) and twice at
// (256,256,256). With 16 rows or inputs it is alike at best; up to 8 columns lose a
// tenth with many rows, since a panel has 16, and (1024,8,8) a fifth.
const Bfloat16Kernels* Products::of_layer(std::size_t rows, std::size_t inputs,
                                          std::size_t outputs) const {
  if (std::max({rows, inputs, outputs}) > span) return nullptr;
  const bool gains = rows >= 24 && std::min(inputs, outputs) >= 32;
  return wherever_possible || gains ? bfloat16 : nullptr;
}

void dense(const Bfloat16Kernels& k, const float* x, std::size_t rows,
           std::size_t inputs, const float* kernel, std::size_t outputs,
           const float* bias, const ActivationChoice& activation, float* y,
           float* saved) {
  const Bfloat16Panels shape{inputs, outputs};
  Bfloat16Parts parts(k, {.rows = rows,
                          .depth = inputs,
                          .cols = outputs,
                          .x = x,
                          .x_panels = nullptr,
                          .panels = nullptr,
                          .y = y,
                          .y_stride = outputs,
                          .scratch = nullptr});
  const Kept scratch((shape.size() + parts.scratch()) * sizeof(Bfloat16Pair));
  auto* const panels = static_cast<Bfloat16Pair*>(scratch.get());
  pack(k.pack, kernel, outputs, 1, shape, panels);
  parts.product.panels = panels;
  parts.run(panels + shape.size());
  finish_dense<float>(kernels<float>(), rows, outputs, bias, activation, nullptr, y,
                      saved);
}

void dense_backward(const Bfloat16Kernels& k, const float* dz, const float* x,
                    std::size_t rows, std::size_t inputs, const float* kernel,
                    std::size_t outputs, float* dx, float* dkernel) {
  const Bfloat16Panels of_kernel{outputs, inputs}, of_x{rows, inputs},
      of_dz{rows, outputs};
  Bfloat16Parts by_x(k, {.rows = rows,
                         .depth = outputs,
                         .cols = inputs,
                         .x = dz,
                         .x_panels = nullptr,
                         .panels = nullptr,
                         .y = dx,
                         .y_stride = inputs,
                         .scratch = nullptr});
  Bfloat16Parts by_kernel(k, {.rows = inputs,
                              .depth = rows,
                              .cols = outputs,
                              .x = nullptr,
                              .x_panels = nullptr,
                              .panels = nullptr,
                              .y = dkernel,
                              .y_stride = outputs,
                              .scratch = nullptr});
  const std::size_t size = std::max(dx ? of_kernel.size() + by_x.scratch() : 0,
                                    dkernel ? of_x.size() + of_dz.size() : 0);
  const Kept scratch(size * sizeof(Bfloat16Pair));
  auto* const panels = static_cast<Bfloat16Pair*>(scratch.get());
  if (dx) {
    pack(k.pack_transposed, kernel, outputs, outputs, of_kernel, panels);
    by_x.product.panels = panels;
    by_x.run(panels + of_kernel.size());
  }
  if (dkernel) {
    pack(k.pack, x, inputs, 1, of_x, panels);
    pack(k.pack, dz, outputs, 1, of_dz, panels + of_x.size());
    by_kernel.product.x_panels = panels;
    by_kernel.product.panels = panels + of_x.size();
    by_kernel.run(nullptr);
  }
}

}  // namespace lamina
