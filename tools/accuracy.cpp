// Every float, through every activation and its derivative, on every target that this
// machine runs, against the float64 kernel of the best one. Prints a line for each
// function, what is asked of it and target, separated by tabs:
//
//   function, forward or derivative, target, largest error, where, mean error, results
//   that are not a number where they should be or the other way round, results that
//   differ from the best target's
//
// Errors of the forward are in units in the last place of the exact result (subnormal
// ones included), those of the derivative absolute, in 2^-24. Run by `make accuracy`;
// an argument of n takes every n-th float only.

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "ops/dispatch.hpp"

namespace {

using namespace lamina;

constexpr std::size_t chunk = 1 << 14;
constexpr std::uint64_t floats = std::uint64_t{1} << 32;
constexpr const char* questions[] = {"forward", "derivative"};

struct Tally {
  double largest = 0, sum = 0;
  float where = 0;
  std::uint64_t counted = 0, not_numbers = 0, different = 0;

  void add(const Tally& other) {
    // Of several places with the largest error, the one of the lowest pattern.
    if (other.largest > largest ||
        (other.largest == largest && std::bit_cast<std::uint32_t>(other.where) <
                                         std::bit_cast<std::uint32_t>(where))) {
      largest = other.largest;
      where = other.where;
    }
    sum += other.sum;
    counted += other.counted;
    not_numbers += other.not_numbers;
    different += other.different;
  }
};

// 1 / the distance of floats next to `exact`.
double per_unit(double exact) {
  const std::uint64_t exponent = std::bit_cast<std::uint64_t>(exact) >> 52 & 0x7ff;
  const std::uint64_t least = 1023 - 126, most = 1023 + 127;
  const std::uint64_t held = exponent < least  ? least
                             : exponent > most ? most
                                               : exponent;
  return std::bit_cast<double>((2046 + 23 - held) << 52);
}

// Infinity counts as the float after the largest, so that overflow has an error, too.
double finite(double y) {
  constexpr double beyond = 0x1p128;
  return y < -beyond ? -beyond : y > beyond ? beyond : y;
}

// Built for several instruction sets: it takes half of the time otherwise.
#if defined(__x86_64__)
[[gnu::target_clones("arch=x86-64-v4", "avx2", "default")]]
#endif
Tally compare(const float* x, const float* y, const double* exact, const float* best,
              std::size_t n, bool absolute) {
  constexpr std::size_t lanes = 8;
  alignas(64) double errors[chunk + lanes] = {};
  Tally tally;
  for (std::size_t i = 0; i < n; ++i) {
    const double scale = absolute ? 0x1p24 : per_unit(exact[i]);
    const double error = std::abs(finite(double{y[i]}) - finite(exact[i])) * scale;
    errors[i] = error == error ? error : 0;
  }
  for (std::size_t i = 0; i < n; ++i) {
    const bool is_number = y[i] == y[i];
    tally.counted += is_number;
    tally.not_numbers += is_number != (exact[i] == exact[i]);
    tally.different += is_number && std::bit_cast<std::uint32_t>(y[i]) !=
                                        std::bit_cast<std::uint32_t>(best[i]);
  }
  double sums[lanes] = {}, largest[lanes] = {};
  for (std::size_t i = 0; i < n; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const double error = errors[i + lane];
      sums[lane] += error;
      largest[lane] = error > largest[lane] ? error : largest[lane];
    }
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    tally.sum += sums[lane];
    tally.largest = std::max(tally.largest, largest[lane]);
  }
  tally.where = x[std::find(errors, errors + n - 1, tally.largest) - errors];
  return tally;
}

// All floats whose pattern is a multiple of `step`, in chunks that threads claim.
std::vector<Tally> audit(std::size_t function, bool derivative, std::uint64_t step,
                         const std::vector<const KernelTable*>& tables) {
  const double parameter = Activations::infos[function].parameter.initial;
  const auto run = [=](const auto& kernels, const auto* x, auto* y, std::size_t n) {
    using T = std::remove_cvref_t<decltype(*y)>;
    const auto& k = kernels.elementwise[function];
    (derivative ? k.derivative : k.forward)(x, y, n, static_cast<T>(parameter));
  };
  std::vector<Tally> total(tables.size());
  std::mutex guard;
  std::atomic<std::uint64_t> next = 0;
  const auto work = [&] {
    std::vector<float> x(chunk), y(chunk), best(chunk);
    std::vector<double> wide(chunk), exact(chunk);
    std::vector<Tally> own(tables.size());
    for (std::uint64_t first; (first = next.fetch_add(chunk * step)) < floats;) {
      const auto n = static_cast<std::size_t>(
          std::min<std::uint64_t>(chunk, (floats - first + step - 1) / step));
      for (std::size_t i = 0; i < n; ++i) {
        x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(first + i * step));
        wide[i] = double{x[i]};
      }
      run(tables.back()->f64, wide.data(), exact.data(), n);
      run(tables.back()->f32, x.data(), best.data(), n);
      const auto compared = [&](const std::vector<float>& results) {
        return compare(x.data(), results.data(), exact.data(), best.data(), n,
                       derivative);
      };
      const Tally of_best = compared(best);
      own.back().add(of_best);
      for (std::size_t t = 0; t + 1 < tables.size(); ++t) {
        run(tables[t]->f32, x.data(), y.data(), n);
        const bool same = std::memcmp(y.data(), best.data(), n * sizeof(float)) == 0;
        own[t].add(same ? of_best : compared(y));
      }
    }
    const std::lock_guard lock(guard);
    for (std::size_t t = 0; t < tables.size(); ++t) total[t].add(own[t]);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i)
    threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  return total;
}

}  // namespace

int main(int count, char** arguments) {
  const std::uint64_t step = count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  if (step == 0) return std::fputs("the step must be a number from 1\n", stderr), 1;
  std::vector<const KernelTable*> tables;
  for (const Target& target : targets())
    if (target.available) tables.push_back(target.table);
  for (std::size_t f = 0; f < Activations::size; ++f)
    for (const bool derivative : {false, true}) {
      const auto tallies = audit(f, derivative, step, tables);
      for (std::size_t t = 0; t < tables.size(); ++t) {
        const Tally& a = tallies[t];
        std::printf("%s\t%s\t%s\t%.4f\t%a\t%.5f\t%llu\t%llu\n",
                    Activations::infos[f].name, questions[derivative], tables[t]->name,
                    a.largest, double{a.where},
                    a.sum / static_cast<double>(std::max<std::uint64_t>(a.counted, 1)),
                    static_cast<unsigned long long>(a.not_numbers),
                    static_cast<unsigned long long>(a.different));
      }
      std::fflush(stdout);
    }
}
