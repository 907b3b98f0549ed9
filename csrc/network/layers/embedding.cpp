#include <numeric>

#include "network/columns.hpp"
#include "network/groups.hpp"
#include "network/layer.hpp"

namespace lamina {

namespace {

// Columns of codes become vectors, each of a row of the column's table; the last row is
// that of what is no code. The other columns pass, before the vectors.
template <class T>
class Embedding final : public Layer<T> {
 public:
  using Layer<T>::inputs, Layer<T>::outputs, Layer<T>::parameters;

  Embedding(const Settings<T>& settings, std::size_t inputs)
      : Layer<T>(inputs, outputs_of(settings, inputs)),
        columns_(settings.counts("columns"), inputs),
        padding_(settings.flag("pads") ? settings.count("padding") : none) {
    const auto codes = settings.counts("sizes"), dims = settings.counts("dims");
    std::size_t to = columns_.passed.size(), start = 0;
    for (std::size_t k = 0; k < codes.size(); ++k) {
      tables_.push_back({columns_.taken[k], codes[k], dims[k], to, start});
      this->sizes.push_back((codes[k] + 1) * dims[k]);
      to += dims[k];
      start += this->sizes.back();
    }
  }

  std::size_t saves(std::size_t rows) const override { return rows * tables_.size(); }

  const T* forward(const Batch& batch, const T* x, T* y, T* saved) const override {
    const auto found = reinterpret_cast<Code*>(saved);
    parallel_rows(batch.rows, outputs, cycles_of<T>(0.5),
                  [&](std::size_t first, std::size_t count) {
                    const T* from = x + first * inputs;
                    T* to = y + first * outputs;
                    columns_.pass(from, to, count, outputs);
                    for (std::size_t row = first; row < first + count;
                         ++row, from += inputs, to += outputs)
                      for (std::size_t k = 0; k < tables_.size(); ++k) {
                        const Table& table = tables_[k];
                        const Code code = table.code(from[table.from]);
                        if (found) found[k * batch.rows + row] = code;
                        const T* vector = parameters + table.start + code * table.dims;
                        std::copy_n(vector, table.dims, to + table.to);
                      }
                  });
    return y;
  }

  // A vector's gradient is the sum over the rows of its code, in their order.
  T* backward(const Batch& batch, const T*, const T*, const T* saved, T* dy, T* dx,
              T* gradient) const override {
    const auto codes = reinterpret_cast<const Code*>(saved);
    if (gradient)
      parallel_rows(tables_.size(), batch.rows * outputs / tables_.size(),
                    cycles_of<T>(1), [&](std::size_t first, std::size_t count) {
                      for (std::size_t k = first; k < first + count; ++k)
                        sum(tables_[k], batch.rows, codes + k * batch.rows, dy,
                            gradient + tables_[k].start);
                    });
    if (dx) columns_.pass_back(dy, dx, batch.rows, outputs);
    return dx;
  }

 private:
  using Code = Groups::Code;
  static constexpr std::size_t none = ~std::size_t{0};
  struct Table {
    std::size_t from, codes, dims, to, start;

    Code code(T x) const {
      const bool within = x >= 0 && x < static_cast<T>(codes);
      const Code whole = within ? static_cast<Code>(x) : 0;
      return within && static_cast<T>(whole) == x ? whole : static_cast<Code>(codes);
    }
  };

  static std::size_t outputs_of(const Settings<T>& settings, std::size_t inputs) {
    const auto dims = settings.counts("dims");
    return std::accumulate(dims.begin(), dims.end(), inputs - dims.size());
  }

  void sum(const Table& table, std::size_t rows, const Code* codes, const T* dy,
           T* gradient) const {
    Groups(codes, rows, table.codes + 1)
        .sum(dy + table.to, static_cast<const T*>(nullptr), table.dims, outputs,
             gradient);
    if (padding_ < table.codes)
      std::fill_n(gradient + padding_ * table.dims, table.dims, T(0));
  }

  const Columns columns_;
  const std::size_t padding_;
  std::vector<Table> tables_;
};

const Register<Embedding> embedding_kind{"embedding"};

}  // namespace

}  // namespace lamina
