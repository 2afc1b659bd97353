// SmartHLS' queues, without an end.
#pragma once
#include <deque>
#include <stdexcept>
#ifndef DEFAULT_FIFO_DEPTH
#define DEFAULT_FIFO_DEPTH 2
#endif
namespace hls {
template <class Value> class FIFO {
    std::deque<Value> held;

  public:
    explicit FIFO(int depth = 0) { (void)depth; }
    bool empty() const { return held.empty(); }
    void write(const Value &value) { held.push_back(value); }
    Value read() {
        if (held.empty())
            throw std::runtime_error("read from an empty queue: on the device this waits for ever");
        Value value = held.front();
        held.pop_front();
        return value;
    }
};
} // namespace hls
