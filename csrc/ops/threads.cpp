#include "ops/threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lamina {

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// In cycles. A helper that sleeps comes 50 to 300 us after it is called, and calling it
// costs 5 to 18 us (the larger ones in a virtual machine, whose idle processors are not
// there).
constexpr double worth_waking = 1e6;

// In cycles. Whoever takes a part waits for a cache line from another core: 0.13 us, a
// tenth of the smallest part.
constexpr double smallest_part = 5e3;

// In cycles: an interrupt is heard between parts, after 0.15 s at most.
constexpr double longest_part = 0.5e9;

// Of a thread; 8 gain nothing, 2 lose on a busy core.
constexpr std::size_t parts_each = 4;

// A helper waits so long for the next call before it sleeps: about what it takes to
// wake it, so that waiting in vain costs no more than waking would have. Between the
// calls of a loop over layers lie 1 to 50 us. OpenBLAS's threads spin for 0.1 s, and
// take the time from whoever has work.
constexpr auto spin = microseconds(60);

// Helpers that were called may still be on their way for so long (see worth_waking):
// they are not called again.
constexpr auto coming = microseconds(300);

// The parts of a call are alike. So whoever waits for a helper's last part for so long,
// and twice the time that its own parts took, waits for a processor that someone else
// has, for a slice of 3 ms and more: calls stay alone for a while, each time that
// happens for twice as long. Trying again costs a third of the time at first, less than
// a hundredth at last.
constexpr auto patience = microseconds(100);
constexpr auto first_pause = milliseconds(10), longest_pause = milliseconds(640);

// The caller's processor, which helpers leave to it, is looked up so often: 0.3 us, and
// 1 us for each helper if it has changed.
[[maybe_unused]] constexpr auto between_placings = milliseconds(5);

// So many fit into the affinity masks of Linux, and more threads than that are a
// mistake: each gets scratch memory.
constexpr std::size_t most_threads = 1024;

// Nobody feels that; where other Python threads run, the GIL is had after 5 ms.
constexpr auto between_polls = milliseconds(100);

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// How a thread computes beside its instructions: rounding, what becomes of subnormal
// numbers, traps. The caller's goes with its work, that results do not depend on who
// does it.
#if defined(__x86_64__)
std::uint32_t float_mode() { return _mm_getcsr() & ~std::uint32_t{_MM_EXCEPT_MASK}; }
void set_float_mode(std::uint32_t mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
std::uint32_t float_mode() {
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return static_cast<std::uint32_t>(mode);
}
void set_float_mode(std::uint32_t mode) {
  asm volatile("msr fpcr, %0" ::"r"(std::uint64_t{mode}));
}
#endif

// What Windows does not have: signals that reach any thread, and processes that fork.
#if defined(_WIN32)
struct WithoutSignals {
  WithoutSignals() {}  // not trivial: a variable of it is not unused
};
int at_fork(void (*)(), void (*)(), void (*)()) { return 0; }
#else
// Signals are for the threads of the program: those that start while it lives have none
// but of their own faults.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &former_);
  }
  ~WithoutSignals() { pthread_sigmask(SIG_SETMASK, &former_, nullptr); }

 private:
  sigset_t former_;
};
int at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  return pthread_atfork(before, in_parent, in_child);
}
#endif

// Which parts of the present call nobody has taken: front ... back - 1. In one word
// with a number of the call, so that a compare-and-swap takes a part of that call or
// fails.
struct Ticket {
  std::uint64_t word;

  std::uint32_t number() const { return static_cast<std::uint32_t>(word >> 32); }
  std::uint32_t front() const { return word >> 16 & 0xffff; }
  std::uint32_t back() const { return word & 0xffff; }
  bool open() const { return front() < back(); }
  static Ticket of(std::uint32_t number, std::uint32_t front, std::uint32_t back) {
    return {std::uint64_t{number} << 32 | front << 16 | back};
  }
};
constexpr std::size_t most_parts = 0xffff;

class Poller {
 public:
  explicit Poller(Poll poll) : poll_(poll), last_(poll ? Clock::now() : Time()) {}
  bool operator()() {
    if (!poll_) return false;
    const Time now = Clock::now();
    if (now - last_ < between_polls) return false;
    last_ = now;
    return poll_();
  }

 private:
  Poll poll_;
  Time last_;
};

struct Parts {
  std::size_t units, count;
  std::size_t border(std::size_t i) const {
    // i * units / count without overflow
    return units / count * i + units % count * i / count;
  }
  std::size_t largest() const { return units / count + (units % count != 0); }
};

Parts parts_of(std::size_t units, double cycles, std::size_t workers) {
  const double total = static_cast<double>(units) * cycles;
  const double wanted = std::max(
      std::min(total / smallest_part, static_cast<double>(workers * parts_each)),
      total / longest_part);
  const double most = static_cast<double>(std::min(units, most_parts));
  return {units, static_cast<std::size_t>(std::clamp(wanted, 1.0, most))};
}

class Pool;
thread_local Pool* polling = nullptr;  // whose call this thread has left for a poll

// The helpers live as long as the process; the object is never destroyed.
class Pool {
 public:
  // False, and nothing done, if another call has the pool. May throw Interrupted.
  bool share(Parts parts, std::size_t helpers, double cycles, pool::Call* call,
             const void* work, Poll poll) {
    if (taken_.exchange(true, std::memory_order_acquire)) return false;
    const Time now = Clock::now();
    // Calls that follow each other closely are worth a helper that is awake.
    const bool wake =
        cycles >= worth_waking || now - ended_.load(std::memory_order_relaxed) < spin;
    if (wake) make_helpers(helpers, now);
    const std::size_t awake = made_ - sleeping_.load(std::memory_order_relaxed);
    const bool shared = now >= resume_ && made_ > 0 && (wake || awake > 0);
    bool stopped = false;
    if (shared) {
      stopped = !fork_and_join(parts, helpers, wake, call, work, poll, now);
      ended();
    }
    taken_.store(false, std::memory_order_release);
    if (stopped) throw Interrupted{};
    return shared;
  }

  // Of any call that might have been shared, by whichever thread. Guessed from its
  // cycles, a call slower than that by `spin` left all that follow it alone.
  void ended() { ended_.store(Clock::now(), std::memory_order_relaxed); }

  // Around a fork in a poll, which is one by the handler of a signal: helpers finish
  // the parts that they hold and get no others, so that the child, where they are not,
  // can do the rest alone.
  void hold() {
    held_.word = ticket_.exchange(0, std::memory_order_acq_rel);
    const std::size_t theirs =
        parts_count_.load(std::memory_order_relaxed) - held_.back();
    while (done_.load(std::memory_order_acquire) != theirs) std::this_thread::yield();
  }
  void let_go() {
    const Ticket next = Ticket::of(held_.number() + 1, held_.front(), held_.back());
    ticket_.store(next.word, std::memory_order_seq_cst);
    ring();
  }

 private:
  void ring() {
    bell_.fetch_add(1, std::memory_order_seq_cst);
    bell_.notify_all();
  }

  void make_helpers(std::size_t wanted, Time now) {
    if (made_ >= wanted || now < retry_) return;
    try {
      const WithoutSignals meanwhile;
      threads_.reserve(wanted);
      for (; made_ < wanted; ++made_) {
        std::thread helper([this, id = made_] { help(id); });
        threads_.push_back(helper.native_handle());
        helper.detach();
      }
    } catch (const std::exception&) {  // the system has no more; it may have later
      retry_ = now + std::chrono::seconds(1);
    }
    placed_ = Time{};
#if defined(__linux__)
    CPU_ZERO(&allowed_);
#endif
  }

  // Linux starts and wakes threads where their caller runs, moves callers to where a
  // helper spins, and leaves both there for milliseconds while another processor is
  // idle: 1.1 ms, as on one thread, for a product every 2 ms that else takes 0.6 on
  // two. So helpers may run wherever the caller may, but not where it runs; with a busy
  // neighbour that is worth 3 %.
  void keep_away([[maybe_unused]] Time now) {
#if defined(__linux__)
    if (now - placed_ < between_placings) return;
    placed_ = now;
    cpu_set_t others;
    if (sched_getaffinity(0, sizeof others, &others) != 0) return;
    CPU_CLR(sched_getcpu(), &others);
    if (CPU_COUNT(&others) == 0 || CPU_EQUAL(&others, &allowed_)) return;
    allowed_ = others;
    for (const pthread_t helper : threads_)
      pthread_setaffinity_np(helper, sizeof others, &others);
#endif
  }

  // False if it was stopped.
  bool fork_and_join(Parts parts, std::size_t helpers, bool wake, pool::Call* call,
                     const void* work, Poll poll, Time began) {
    Poller interrupted(poll);
    keep_away(began);
    // Helpers that still look at the former call cannot take a part of it any more, nor
    // of this one before they have read all of what follows.
    parts_units_.store(parts.units, std::memory_order_release);
    parts_count_.store(parts.count, std::memory_order_release);
    call_.store(call, std::memory_order_release);
    work_.store(work, std::memory_order_release);
    helpers_.store(helpers, std::memory_order_release);
    float_mode_.store(float_mode(), std::memory_order_release);
    done_.store(0, std::memory_order_relaxed);
    Ticket ticket{ticket_.load(std::memory_order_relaxed)};
    ticket =
        Ticket::of(ticket.number() + 1, 0, static_cast<std::uint32_t>(parts.count));
    ticket_.store(ticket.word, std::memory_order_seq_cst);
    if (wake && sleeping_.load(std::memory_order_seq_cst) > 0 &&
        began - rang_ > coming) {
      rang_ = began;
      ring();
    }
    bool stopped = false;
    for (;;) {
      ticket.word = ticket_.load(std::memory_order_acquire);
      if (!ticket.open()) break;
      const std::size_t i = ticket.front();
      if (!stopped && i > 0) {
        polling = this;
        stopped = interrupted();
        polling = nullptr;
      }
      const Ticket next = Ticket::of(
          ticket.number(), stopped ? ticket.back() : ticket.front() + 1, ticket.back());
      if (!ticket_.compare_exchange_strong(ticket.word, next.word,
                                           std::memory_order_acq_rel))
        continue;
      if (!stopped)
        call(work, parts.border(i), parts.border(i + 1) - parts.border(i), 0);
    }
    ticket.word = ticket_.load(std::memory_order_acquire);
    await(parts.count - ticket.back(), began, std::max<std::size_t>(ticket.front(), 1));
    return !stopped;
  }

  // Until helpers have done that many parts. The caller did `own` since it began.
  void await(std::size_t theirs, Time began, std::size_t own) {
    if (done_.load(std::memory_order_acquire) == theirs) return;
    const Time start = Clock::now();
    // After 25 us and more, the helper may want this very processor.
    for (unsigned turn = 1; done_.load(std::memory_order_acquire) != theirs; ++turn)
      turn % 1024 ? relax() : std::this_thread::yield();
    const Time now = Clock::now();
    if (now - start > patience + 2 * (start - began) / static_cast<long>(own)) {
      resume_ = now + pause_;
      pause_ = std::min<Clock::duration>(2 * pause_, longest_pause);
    } else {
      pause_ = std::max<Clock::duration>(pause_ / 2, first_pause);
    }
  }

  void help(std::size_t id) {
    for (;;) {
      const std::uint32_t rung = bell_.load(std::memory_order_seq_cst);
      Time idle = Clock::now();
      // 64 turns take 2 us and more, a look at the clock 0.02 us.
      for (unsigned turn = 1; turn % 64 || Clock::now() - idle < spin; ++turn) {
        if (take_parts(id))
          idle = Clock::now();
        else
          relax();
      }
      sleeping_.fetch_add(1, std::memory_order_seq_cst);
      if (!take_parts(id)) bell_.wait(rung, std::memory_order_seq_cst);
      sleeping_.fetch_sub(1, std::memory_order_seq_cst);
    }
  }

  // Whether there were any.
  bool take_parts(std::size_t id) {
    for (bool some = false;; some = true) {
      Ticket ticket{ticket_.load(std::memory_order_seq_cst)};
      if (!ticket.open() || id >= helpers_.load(std::memory_order_acquire)) return some;
      const Parts parts{parts_units_.load(std::memory_order_acquire),
                        parts_count_.load(std::memory_order_acquire)};
      pool::Call* const call = call_.load(std::memory_order_acquire);
      const void* const work = work_.load(std::memory_order_acquire);
      const std::uint32_t mode = float_mode_.load(std::memory_order_acquire);
      const Ticket next =
          Ticket::of(ticket.number(), ticket.front(), ticket.back() - 1);
      if (!ticket_.compare_exchange_strong(ticket.word, next.word,
                                           std::memory_order_acq_rel))
        continue;
      if (mode != float_mode()) set_float_mode(mode);
      const std::size_t first = parts.border(next.back());
      call(work, first, parts.border(next.back() + 1) - first, id + 1);
      done_.fetch_add(1, std::memory_order_release);
    }
  }

  std::atomic<Time> ended_{Time{}};

  // Written by whoever has the pool.
  std::atomic<bool> taken_{false};
  std::size_t made_ = 0;
  std::vector<std::thread::native_handle_type> threads_;
#if defined(__linux__)
  cpu_set_t allowed_{};  // where they may run; nowhere: not said
#endif
  Time rang_{}, retry_{}, resume_{}, placed_{};
  Clock::duration pause_ = first_pause;

  // The present call.
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  std::atomic<std::size_t> parts_units_{0}, parts_count_{1}, helpers_{0};
  std::atomic<pool::Call*> call_{nullptr};
  std::atomic<const void*> work_{nullptr};
  std::atomic<std::uint32_t> float_mode_{0};
  Ticket held_{};

  alignas(64) std::atomic<std::size_t> done_{0};  // parts, by helpers

  alignas(64) std::atomic<std::uint32_t> bell_{0};
  std::atomic<std::size_t> sleeping_{0};
};

// A fork leaves its child without helpers: it makes a pool of its own, after a call
// that it was born in.
std::atomic<Pool*> the_pool{nullptr};

Pool& get_pool() {
  if (Pool* pool = the_pool.load(std::memory_order_acquire)) return *pool;
  [[maybe_unused]] static const int registered = at_fork(
      [] {
        if (polling) polling->hold();
      },
      [] {
        if (polling) polling->let_go();
      },
      [] {
        if (polling) polling->let_go();
        the_pool.store(nullptr, std::memory_order_relaxed);
      });
  Pool* const made = new Pool;
  Pool* other = nullptr;
  if (the_pool.compare_exchange_strong(other, made)) return *made;
  delete made;
  return *other;
}

// Processors that the quotas of this process's cgroups pay for, or infinity.
double quota_of_cgroups() {
  double least = std::numeric_limits<double>::infinity();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto name = line.find(':'), path = line.find(':', name + 1);
    if (path == std::string::npos) continue;
    const std::string controllers = line.substr(name + 1, path - name - 1);
    const bool second = controllers.empty();
    if (!second && controllers.find("cpu") == std::string::npos) continue;
    // From the group up to the root, which is where a container finds its own.
    std::string group = line.substr(path + 1);
    for (bool root = false; !root;) {
      root = group.empty() || group == "/";
      const std::string folder =
          "/sys/fs/cgroup" + (second ? "" : "/" + controllers) + (root ? "" : group);
      std::string quota, period;
      if (second) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;
      } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
      }
      const double share =
          std::strtod(quota.c_str(), nullptr) / std::strtod(period.c_str(), nullptr);
      if (share > 0) least = std::min(least, share);  // not "max", -1 or nothing
      const auto slash = group.rfind('/');
      if (!root) group.resize(slash == std::string::npos ? 0 : slash);
    }
  }
  return least;
}

std::atomic<std::size_t> process_threads{0};  // 0: not said
thread_local std::size_t thread_limit = 0;
thread_local Poll thread_poll = nullptr;

}  // namespace

std::size_t default_threads() {
  static const std::size_t count = [] {
    std::size_t processors = std::max(1u, std::thread::hardware_concurrency());
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
      processors = static_cast<std::size_t>(CPU_COUNT(&set));
#endif
    const double quota = std::ceil(quota_of_cgroups());
    return quota < static_cast<double>(processors) ? static_cast<std::size_t>(quota)
                                                   : processors;
  }();
  return count;
}

std::size_t get_threads() {
  if (thread_limit) return thread_limit;
  const std::size_t said = process_threads.load(std::memory_order_relaxed);
  return said ? said : default_threads();
}

void set_threads(std::size_t count) {
  process_threads.store(std::min(count, most_threads), std::memory_order_relaxed);
}

std::size_t limit_threads(std::size_t count) {
  return std::exchange(thread_limit, std::min(count, most_threads));
}

Poll set_poll(Poll poll) { return std::exchange(thread_poll, poll); }

std::size_t largest_part(std::size_t units, double cycles, std::size_t workers) {
  return parts_of(units, cycles, workers).largest();
}

void pool::run(std::size_t units, double cycles, std::size_t workers, Call* call,
               const void* work) {
  const double total = static_cast<double>(units) * cycles;
  if (workers == 1 && total <= longest_part) return call(work, 0, units, 0);

  const Parts parts = parts_of(units, cycles, workers);
  const std::size_t helpers = std::min(workers, parts.count) - 1;
  if (helpers > 0 && get_pool().share(parts, helpers, total, call, work, thread_poll))
    return;
  if (total <= longest_part) {
    call(work, 0, units, 0);
  } else {
    Poller interrupted(thread_poll);
    for (std::size_t i = 0; i < parts.count; ++i) {
      if (interrupted()) throw Interrupted{};
      call(work, parts.border(i), parts.border(i + 1) - parts.border(i), 0);
    }
  }
  if (helpers > 0) get_pool().ended();
}

}  // namespace lamina
