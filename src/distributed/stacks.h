// Where every thread of this process is: what a rank that hangs leaves behind.
#pragma once

namespace temper {

/// Makes ready for print_stacks: once, early, from any thread.
void prepare_stacks();

/// Writes the stack of each thread to standard error, as "thread 123 (temper):" and lines of backtrace_symbols_fd(3), which
/// `addr2line -Cfe PROGRAM ADDRESS` turns into names. A thread that does not answer within a second is left out.
void print_stacks();

}  // namespace temper
