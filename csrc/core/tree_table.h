// The trees of a forest by id. Ids ascend and are never used again, so the table is made of blocks,
// and a block goes with the last of its trees: what many short-lived trees leave behind is a pointer
// for every 256 of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/node.h"
#include "core/tree.h"

namespace rts {

class TreeTable {
 public:
  // Ids that were given so far, which is the next one.
  std::size_t next() const { return next_; }

  // Null if the tree was never created or was dropped.
  Tree* Find(TreeId tree) const {
    const auto id = static_cast<std::size_t>(tree);  // past the end if negative
    if (id >= next_ || blocks_[id / kBlock] == nullptr) return nullptr;
    return blocks_[id / kBlock]->trees[id % kBlock].get();
  }

  // So that the next `more` additions cannot fail.
  void Reserve(std::size_t more) {
    const std::size_t blocks = (next_ + more + kBlock - 1) / kBlock;
    // twice as much at least: reserve() alone would copy the table again and again
    if (blocks > blocks_.capacity()) blocks_.reserve(std::max(blocks, 2 * blocks_.capacity()));
    while (blocks_.size() < blocks) blocks_.push_back(std::make_unique<Block>());
  }

  // After Reserve().
  TreeId Add(std::unique_ptr<Tree> tree) {
    Block& block = *blocks_[next_ / kBlock];
    block.trees[next_ % kBlock] = std::move(tree);
    ++block.alive;
    return static_cast<TreeId>(next_++);
  }

  // A tree that Find() finds leaves the table.
  std::unique_ptr<Tree> Take(TreeId tree) {
    const auto id = static_cast<std::size_t>(tree);
    std::unique_ptr<Block>& block = blocks_[id / kBlock];
    std::unique_ptr<Tree> taken = std::move(block->trees[id % kBlock]);
    if (--block->alive == 0 && next_ / kBlock > id / kBlock) block.reset();
    return taken;
  }

 private:
  static constexpr std::size_t kBlock = 256;
  struct Block {
    std::array<std::unique_ptr<Tree>, kBlock> trees;
    std::uint32_t alive = 0;
  };

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t next_ = 0;
};

}  // namespace rts
