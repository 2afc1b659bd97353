#pragma once
#include "ap_int.h"
namespace hls {
template <int W> using ap_int = ::ap_int<W>;
template <int W> using ap_uint = ::ap_uint<W>;
} // namespace hls
