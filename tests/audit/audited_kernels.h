// Kernels that do right when `right`, and else what the audit must find. They are compiled as those of kernels/cuda are for it.
#pragma once

namespace temper::emulated {

void exchange_by_warps(float* out, bool right);    // shared memory, with and without a barrier
void exchange_by_lanes(float* out, bool right);    // with and without __syncwarp
void exchange_by_votes(float* out, bool right);    // with __syncwarp, and with a vote that both lanes take part in
void reuse_shared(float* out, bool right);         // written again behind a barrier, or while others read
void change_together(int* out, bool right);        // by an atomic operation, or not
void change_between_blocks(int* out, bool right);  // an element for each block, or the same
void read_misaligned(float* out, bool right);      // 8 bytes on their boundary, or not
void read_outside(float* out, bool right);         // 32 elements, or the one behind them
void read_outside_shared(float* out, bool right);
void read_unwritten(float* out, bool right);
void read_unwritten_shared(float* out, bool right);
void copy_and_read(float* out, bool right);   // behind the wait and a barrier, or before the wait
void copy_over_read(float* out, bool right);  // into a tile that others still read

void read_strided(float* out, int stride);  // one float of a lane
void read_vectors(float* out, int stride);  // four floats of a lane, at once
void write_strided_shared(float* out, int stride);
void write_shared_vectors(float* out, int stride);

}  // namespace temper::emulated
