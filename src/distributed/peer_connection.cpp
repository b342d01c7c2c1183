#include "distributed/peer_connection.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <tuple>
#include <utility>

#include "io/descriptor.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper {

using asio::ip::tcp;

namespace {

/// Keeps a socket from processes that this one starts: they would hold the connection open after this one died.
void close_on_exec(int descriptor) { ::fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

}  // namespace

void spawn(const asio::any_io_executor& executor, asio::awaitable<void> work) {
  asio::co_spawn(executor, std::move(work), [executor](const std::exception_ptr& error) {
    if (error) asio::post(executor, [error] { std::rethrow_exception(error); });
  });
}

PeerConnection::PeerConnection(tcp::socket socket, std::uint64_t max_payload) : socket_(std::move(socket)), reader_(max_payload) {
  asio::error_code ignored;  // of a connection that is gone already: the first read says so
  close_on_exec(socket_.native_handle());
  socket_.set_option(tcp::no_delay(true), ignored);
}

asio::awaitable<std::string> PeerConnection::receive(std::function<void(const PeerFrame&)> take) {
  while (open_) {
    asio::error_code error;
    const std::size_t bytes = co_await socket_.async_read_some(asio::buffer(incoming_), error_to(error));
    if (!open_) break;
    // Which of the two the system says follows from whether the process that is gone had read all that came to it.
    if (error == asio::error::eof || error == asio::error::connection_reset) {
      close("its connection closed");
    } else if (error) {
      close("its connection broke: " + error.message());
    } else {
      silence_ = std::chrono::milliseconds(0);
      reader_.add(incoming_.data(), bytes);
      try {
        for (std::optional<PeerFrame> frame; open_ && (frame = reader_.next());) take(*frame);
      } catch (const BrokenMessage& broken) {
        close("it sent " + std::string(broken.what()));
      }
    }
  }
  co_return reason_;
}

void PeerConnection::send(PeerBytes frame) {
  if (!open_ || finishing_ || !can_write_) return;
  queue_.push_back(std::move(frame));
  if (queue_.size() == 1) spawn(socket_.get_executor(), write(shared_from_this()));
}

asio::awaitable<void> PeerConnection::write(std::shared_ptr<PeerConnection> self) {
  while (self->open_ && !self->queue_.empty()) {
    const PeerBytes frame = self->queue_.front();  // close() may clear the queue while it is under way
    asio::error_code error;
    co_await asio::async_write(self->socket_, asio::buffer(*frame), error_to(error));
    if (!self->open_) co_return;
    if (error) {  // What came before the break may still wait to be read: that the connection is gone is for receive() to find.
      self->can_write_ = false;
      self->queue_.clear();
      co_return;
    }
    self->queue_.pop_front();
  }
  if (self->finishing_) self->finish();
}

void PeerConnection::finish() {
  finishing_ = true;
  asio::error_code ignored;
  if (open_ && queue_.empty()) socket_.shutdown(tcp::socket::shutdown_send, ignored);
}

void PeerConnection::beat() {
  if (queue_.empty()) send(frame_of(PeerMessage::beat));
}

void PeerConnection::close(const std::string& reason) {
  if (!std::exchange(open_, false)) return;
  reason_ = reason;
  queue_.clear();
  asio::error_code ignored;
  socket_.close(ignored);
}

Peers::Listener::Listener(int port, const std::string& address) {
  const auto number = static_cast<asio::ip::port_type>(port);
  asio::error_code error;
  const auto literal = asio::ip::make_address(address == "localhost" ? "127.0.0.1" : address, error);
  if (!error && literal.is_loopback()) {
    open(tcp::endpoint(literal, number), error);
  } else {
    // One socket of IPv6 takes IPv4 as well, where the machine has IPv6 at all.
    open(tcp::endpoint(tcp::v6(), number), error);
    if (error == asio::error::address_family_not_supported || error == std::errc::address_not_available)
      open(tcp::endpoint(tcp::v4(), number), error);
  }
  if (error)
    throw Error(ExitCode::distributed, "rank 0 cannot listen at port " + std::to_string(port) + " of " + host_name() + ": " +
                                           error.message() +
                                           "; end the program that has it (ss -ltnp), or choose another MASTER_PORT");
}

void Peers::Listener::open(const tcp::endpoint& endpoint, asio::error_code& error) {
  asio::error_code ignored;
  acceptor_.close(ignored);
  acceptor_.open(endpoint.protocol(), error);
  if (error) return;
  close_on_exec(acceptor_.native_handle());
  // A run that starts again gets the port while connections of the run before it linger in the system.
  acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && endpoint.address().is_v6() && endpoint.address().is_unspecified())
    acceptor_.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
}

tcp::acceptor Peers::Listener::take(asio::io_context& io) {
  require(acceptor_.is_open(), "a Peers::Listener serves one Peers");
  const tcp protocol = place().protocol();
  return tcp::acceptor(io, protocol, acceptor_.release());
}

std::shared_ptr<Peers::Listener> Peers::listen(int port, const std::string& address) {
  return std::make_shared<Listener>(port, address);
}

std::pair<std::vector<std::string>, int> Peers::place(const Listener& listener) {
  const tcp::endpoint place = listener.place();
  if (place.address().is_loopback()) return {{place.address().to_string()}, place.port()};
  // Best first: real interfaces before those that containers and virtual machines made, IPv4 before IPv6. The loopback interface
  // leads every other machine to itself: it counts only where there is nothing else.
  std::vector<std::tuple<int, bool, std::string>> found;
  ifaddrs* interfaces = nullptr;
  if (::getifaddrs(&interfaces) != 0) interfaces = nullptr;
  for (const ifaddrs* one = interfaces; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const std::string_view name = one->ifa_name;
    constexpr std::array<const char*, 6> virtual_names = {"docker", "br-", "virbr", "veth", "cni", "lxc"};
    const bool made =
        std::any_of(virtual_names.begin(), virtual_names.end(), [&](const char* prefix) { return name.starts_with(prefix); });
    const int order = (one->ifa_flags & IFF_LOOPBACK) != 0 ? 2 : made ? 1 : 0;
    const bool v6 = one->ifa_addr->sa_family == AF_INET6;
    if (!v6 && one->ifa_addr->sa_family != AF_INET) continue;
    if (v6 && place.protocol() != tcp::v6()) continue;
    tcp::endpoint endpoint;
    std::memcpy(endpoint.data(), one->ifa_addr, v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    if (v6 && endpoint.address().to_v6().is_link_local()) continue;
    found.emplace_back(order, v6, endpoint.address().to_string());
  }
  ::freeifaddrs(interfaces);
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b));
  });
  std::vector<std::string> addresses;
  for (const auto& [order, v6, address] : found)
    if (order < 2 || std::get<0>(found.front()) == 2) addresses.push_back(address);
  return {addresses, place.port()};
}

}  // namespace temper
