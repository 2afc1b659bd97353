// What a project for oneAPI uses of SYCL, for g++: pipes are queues without an end, and a task runs where it is started.
// Numbers are ac_types', as in DPC++; clocks, capacities and parallelism are not imitated.
#ifndef PACKTRAIN_EMULATED_SYCL_HPP
#define PACKTRAIN_EMULATED_SYCL_HPP
#include <cstdint>
#include <deque>
#include <stdexcept>
#include <utility>

#define SYCL_EXTERNAL

namespace sycl {
struct queue {};

namespace ext {
namespace oneapi {
namespace experimental {
struct properties_tag {};
template <class... Kinds> struct properties {
    properties(Kinds...) {}
};
} // namespace experimental
} // namespace oneapi

namespace intel {
namespace experimental {
template <int Cycles> struct ready_latency_kind {};
template <int Cycles> constexpr ready_latency_kind<Cycles> ready_latency{};
template <int... Modes> struct streaming_interface_kind {};
template <int... Modes> constexpr streaming_interface_kind<Modes...> streaming_interface{};
template <int... Modes> struct pipelined_kind {};
template <int... Modes> constexpr pipelined_kind<Modes...> pipelined{};

template <class Name, class Value, std::int32_t Capacity = 0, class Properties = void, class... Further> struct pipe {
    static std::deque<Value> &values() {
        static std::deque<Value> held;
        return held;
    }
    static Value read() {
        if (values().empty())
            throw std::runtime_error("read from an empty pipe: on the device this waits for ever");
        Value value = values().front();
        values().pop_front();
        return value;
    }
    static Value read(bool &success) {
        success = !values().empty();
        return success ? read() : Value{};
    }
    static void write(const Value &value) { values().push_back(value); }
};

template <auto &Task> struct task_sequence {
    template <class... Arguments> void async(Arguments &&...arguments) { Task(std::forward<Arguments>(arguments)...); }
    void get() {}
};
} // namespace experimental
} // namespace intel
} // namespace ext
} // namespace sycl
#endif
