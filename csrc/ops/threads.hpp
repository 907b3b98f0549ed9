// Threads: one pool for the process, which shares out work that the caller would else
// do alone. Results never depend on it: who computes a part changes no bit of it.
//
// A call cuts its work into parts with fixed borders; the caller takes them from the
// front, helpers from the back, until none is left. So a helper that comes late, or
// whose processor is taken by someone else, costs no more than the part that it holds,
// and on two threads each finds in its cache what it had there the last time.
#pragma once

#include <cstddef>

namespace lamina {

// How many threads a call may use, the caller's included: what limit_threads() says for
// this thread, else what set_threads() says, else default_threads().
std::size_t get_threads();
void set_threads(std::size_t count);  // at least 1; 1024 at most are used

// For calls of this thread alone; 0 lifts the limit. Returns the former one.
std::size_t limit_threads(std::size_t count);

// The processors that this process may run on, or fewer if a quota of its cgroup says
// so.
std::size_t default_threads();

// Called every 0.1 s or so in long work, by the thread that asked for it; true stops
// the work at the next border. Of this thread; null for none.
using Poll = bool (*)();
Poll set_poll(Poll poll);
struct Interrupted {
};  // thrown when it was stopped, when no thread works on it any more

namespace pool {

// In cycles, of which a core does 3 to 4 in a nanosecond: less is not worth a second
// thread that is awake. Fork and join take 0.15 us, moving the data to and fro some
// more.
constexpr double worth_sharing = 20e3;

using Call = void(const void* work, std::size_t first, std::size_t count,
                  std::size_t worker) noexcept;
void run(std::size_t units, double cycles, std::size_t workers, Call* call,
         const void* work);

}  // namespace pool

// How many workers such work can get: each needs scratch memory of its own.
inline std::size_t workers_for(std::size_t units, double cycles) {
  const bool small = static_cast<double>(units) * cycles < pool::worth_sharing;
  const std::size_t threads = small ? 1 : get_threads();
  return threads < units ? threads : units > 0 ? units : 1;
}

// The most units that a worker but the first gets at a time.
std::size_t largest_part(std::size_t units, double cycles, std::size_t workers);

// Runs work(first, count, worker) over all of 0 ... units - 1, parts of it at the same
// time on several threads if that pays; `cycles` is what a unit takes, roughly. Each of
// the `workers`, numbered from 0, does one part at a time. Work within work, or while
// another thread has the pool, stays with its thread, whole. `work` must not throw.
template <class Work>
void parallel(std::size_t units, double cycles, std::size_t workers, const Work& work) {
  if (static_cast<double>(units) * cycles < pool::worth_sharing) {
    if (units > 0) work(std::size_t{0}, units, std::size_t{0});
    return;
  }
  pool::run(
      units, cycles, workers,
      [](const void* w, std::size_t first, std::size_t count,
         std::size_t worker) noexcept {
        (*static_cast<const Work*>(w))(first, count, worker);
      },
      &work);
}

}  // namespace lamina
