// Whatever bytes come over a socket are refused with BrokenMessage, or are messages that come back the same when they are sent on.
#include "distributed/peer_messages.h"

#include <cstdint>
#include <cstdlib>

namespace {

constexpr std::int64_t size = 3;  // ranks

template <typename Message>
void read(const temper::PeerFrame& frame) noexcept {
  Message message;
  try {
    message = temper::message_of<Message>(frame, size);
  } catch (const temper::BrokenMessage&) {
    return;
  }
  const std::string sent = *temper::frame_of(message);
  temper::FrameReader reader(temper::max_hub_payload(size));
  reader.add(sent.data(), sent.size());
  const auto again = reader.next();
  if (!again || again->payload.size() != frame.payload.size()) std::abort();
  if (*temper::frame_of(temper::message_of<Message>(*again, size)) != sent) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace temper;
  FrameReader reader(max_stranger_payload);
  try {
    // In two pieces: a frame may come cut anywhere.
    const std::size_t cut = bytes == 0 ? 0 : data[bytes - 1] % bytes;
    for (const auto& [begin, end] : {std::pair{std::size_t{0}, cut}, std::pair{cut, bytes}}) {
      reader.add(reinterpret_cast<const char*>(data) + begin, end - begin);
      while (const auto frame = reader.next()) {
        read<Greeting>(*frame);
        read<Challenge>(*frame);
        read<Hello>(*frame);
        read<Welcome>(*frame);
        read<Refused>(*frame);
        read<Offer>(*frame);
        read<Result>(*frame);
        read<Question>(*frame);
        read<Absent>(*frame);
        read<Lost>(*frame);
      }
    }
  } catch (const BrokenMessage&) {
  }
  return 0;
}
