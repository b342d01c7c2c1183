#include "distributed/peer_connection.h"

#include <fcntl.h>

#include <utility>

namespace temper {

std::string endpoint_text(const asio::ip::tcp::endpoint& endpoint) {
  return endpoint.address().to_string() + " port " + std::to_string(endpoint.port());
}

void close_on_exec(int descriptor) { ::fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

PeerConnection::PeerConnection(asio::ip::tcp::socket socket, Owner& owner, std::uint64_t max_payload)
    : socket_(std::move(socket)), owner_(owner), reader_(max_payload) {
  asio::error_code ignored;  // of a connection that is gone already: the first read says so
  close_on_exec(socket_.native_handle());
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  remote_ = socket_.remote_endpoint(ignored).address().to_string();
}

void PeerConnection::start() { read(); }

void PeerConnection::read() {
  socket_.async_read_some(asio::buffer(incoming_), [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
    if (!self->open_) return;
    // Which of the two the system says follows from whether the process that is gone had read all that came to it.
    if (error == asio::error::eof || error == asio::error::connection_reset) return self->end("its connection closed");
    if (error) return self->end("its connection broke: " + error.message());
    self->silence_ = std::chrono::milliseconds(0);
    self->reader_.add(self->incoming_.data(), bytes);
    self->take_frames();
    if (self->open_) self->read();
  });
}

void PeerConnection::take_frames() {
  try {
    while (open_) {
      const std::optional<PeerFrame> frame = reader_.next();
      if (!frame) return;
      owner_.on_frame(*this, *frame);
    }
  } catch (const BrokenMessage& broken) {
    end("it sent " + std::string(broken.what()));
  }
}

void PeerConnection::send(PeerBytes frame) {
  if (!open_ || finishing_ || !can_write_) return;
  queue_.push_back(std::move(frame));
  if (queue_.size() == 1) write();
}

void PeerConnection::write() {
  // The handler holds the frame: close() may clear the queue while it is under way.
  const PeerBytes frame = queue_.front();
  asio::async_write(socket_, asio::buffer(*frame), [self = shared_from_this(), frame](const asio::error_code& error, std::size_t) {
    if (!self->open_) return;
    if (error) {  // What came before the break may still wait to be read: that the connection is gone is for read() to find.
      self->can_write_ = false;
      self->queue_.clear();
      return;
    }
    self->queue_.pop_front();
    if (!self->queue_.empty()) return self->write();
    if (self->finishing_) self->finish();
  });
}

void PeerConnection::finish() {
  finishing_ = true;
  asio::error_code ignored;
  if (open_ && queue_.empty()) socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void PeerConnection::beat() {
  if (queue_.empty()) send(frame_of(PeerMessage::beat));
}

void PeerConnection::close() {
  open_ = false;
  queue_.clear();
  asio::error_code ignored;
  socket_.close(ignored);
}

void PeerConnection::end(const std::string& reason) {
  if (!open_) return;
  close();
  owner_.on_end(*this, reason);
}

}  // namespace temper
