// SmartHLS' fixed-point numbers by AMD's, which its documents give the same template arguments and meaning.
#pragma once
#include "ap_fixed.h"
namespace hls {
using ::AP_RND;
using ::AP_RND_CONV;
using ::AP_RND_INF;
using ::AP_RND_MIN_INF;
using ::AP_RND_ZERO;
using ::AP_SAT;
using ::AP_SAT_SYM;
using ::AP_SAT_ZERO;
using ::AP_TRN;
using ::AP_TRN_ZERO;
using ::AP_WRAP;
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP> using ap_fixpt = ap_fixed<W, I, Q, O>;
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP> using ap_ufixpt = ap_ufixed<W, I, Q, O>;
} // namespace hls
