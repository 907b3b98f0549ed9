// Memory that one call at a time takes piece by piece and the next takes again. Up to
// `most_kept` stays after any call, and what a step of training took until the next
// step or release(): where batches are large and layers narrow, new pages for every
// step take twice its time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <new>

namespace lamina {

class Arena {
 public:
  // While it lives the memory is the call's. A second call at the same time, of another
  // thread or of a signal's handler, gets memory of its own.
  class Lease {
   public:
    explicit Lease(Arena& arena, bool of_step = false)
        : arena_(arena),
          of_step_(of_step),
          kept_(!arena.leased_.test_and_set(std::memory_order_acquire)) {
      if (kept_) block_.swap(arena.block_), bytes_ = arena.bytes_;
    }
    ~Lease() {
      if (!kept_) return;
      if (of_step_) arena_.of_step_ = reserved_;
      const bool stays = bytes_ <= std::max(most_kept, arena_.of_step_);
      if (stays) arena_.block_.swap(block_);
      arena_.bytes_ = stays ? bytes_ : 0;
      arena_.leased_.clear(std::memory_order_release);
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // Room for the pieces to come, each rounded up; ends the life of those before.
    void reserve(std::size_t bytes) {
      if (bytes > bytes_) {
        block_.reset();
        bytes_ = 0;
        block_.reset(
            static_cast<std::byte*>(::operator new(bytes, std::align_val_t(border))));
        bytes_ = bytes;
      }
      reserved_ = bytes;
      used_ = 0;
    }
    template <class U>
    U* take(std::size_t count) {
      auto* piece = reinterpret_cast<U*>(block_.get() + used_);
      used_ += rounded(count * sizeof(U));
      return piece;
    }
    std::size_t mark() const { return used_; }
    void return_to(std::size_t mark) { used_ = mark; }

   private:
    Arena& arena_;
    const bool of_step_, kept_;
    struct Free {
      void operator()(std::byte* p) const {
        ::operator delete(p, std::align_val_t(border));
      }
    };
    friend Arena;
    std::unique_ptr<std::byte, Free> block_;
    std::size_t bytes_ = 0, reserved_ = 0, used_ = 0;
  };

  // Gives back what is more than `most_kept`, unless a call has it.
  void release() { Lease(*this, true).reserve(0); }

  // Bytes that a piece takes: pieces begin at borders of cache lines.
  static constexpr std::size_t rounded(std::size_t bytes) {
    return (bytes + border - 1) / border * border;
  }

 private:
  static constexpr std::size_t border = 64, most_kept = std::size_t{64} << 20;
  std::atomic_flag leased_ = ATOMIC_FLAG_INIT;
  std::unique_ptr<std::byte, Lease::Free> block_;
  std::size_t bytes_ = 0, of_step_ = 0;  // what the last step took
};

}  // namespace lamina
