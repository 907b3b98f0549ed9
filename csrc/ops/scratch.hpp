// Memory on 64-byte borders: owned, or kept by a thread for the scratch of its calls.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

namespace lamina {

struct FreeAligned {
  void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
};
using AlignedMemory = std::unique_ptr<void, FreeAligned>;

inline AlignedMemory aligned_memory(std::size_t bytes) {
  return AlignedMemory(::operator new(bytes, std::align_val_t(64)));
}

// 64-byte aligned memory of one thread, grown to the largest request up to `most_kept`
// and kept until the thread ends, so that a loop of layers allocates once; what is more
// is the call's alone. Layers of (512, 1024, 1024) need 5 MiB, in float64 10, and
// (2048, 1024, 1024) 12 and 22. A call within a call, from the handler of a signal,
// gets memory of its own.
class Kept {
 public:
  explicit Kept(std::size_t bytes) : block_(std::move(kept())) {
    if (bytes <= block_.bytes) return;
    block_ = {};
    block_.memory = aligned_memory(bytes);
    block_.bytes = bytes;
  }
  ~Kept() {
    if (block_.bytes > kept().bytes && block_.bytes <= most_kept)
      std::swap(block_, kept());
  }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;
  void* get() const { return block_.memory.get(); }

 private:
  struct Block {
    AlignedMemory memory;
    std::size_t bytes = 0;
    Block() = default;
    Block(Block&& other) noexcept
        : memory(std::move(other.memory)), bytes(std::exchange(other.bytes, 0)) {}
    Block& operator=(Block&& other) noexcept {
      memory = std::move(other.memory);
      bytes = std::exchange(other.bytes, 0);
      return *this;
    }
  };
  static constexpr std::size_t most_kept = std::size_t{32} << 20;
  // Not a member: Clang for Windows would define its initialisation in every file.
  static Block& kept() {
    static thread_local Block block;
    return block;
  }
  Block block_;
};

}  // namespace lamina
