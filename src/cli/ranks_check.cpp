#include "cli/ranks_check.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "cli/commands.h"
#include "distributed/communicator.h"
#include "io/descriptor.h"
#include "io/json.h"
#include "io/text.h"
#include "kernels/device_memory.h"

namespace temper {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int repetitions = 5;
constexpr std::int64_t pair_mebibytes = 8;

/// Addresses of this host's interfaces, by address; not the loopback's.
std::map<std::string, std::string> interfaces_by_address() {
  std::map<std::string, std::string> found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owned(all, &::freeifaddrs);
  for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text, sizeof(text));
    found.emplace(text, one->ifa_name);
  }
  return found;
}

/// The interface from which the system would send to the first of these addresses that it has a way to; no packet is sent. What
/// both hosts call their own, as Docker's bridge, leads nowhere.
std::string interface_towards(const std::string& addresses) {
  const std::map<std::string, std::string> own = interfaces_by_address();
  std::istringstream each(addresses);
  for (std::string address; each >> address;) {
    sockaddr_in to{}, from{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    if (own.contains(address) || ::inet_pton(AF_INET, address.c_str(), &to.sin_addr) != 1) continue;
    const Descriptor probe(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    socklen_t length = sizeof(from);
    if (!probe || ::connect(probe.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0 ||
        ::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&from), &length) != 0)
      continue;
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &from.sin_addr, text, sizeof(text));
    if (const auto found = own.find(text); found != own.end()) return found->second;
  }
  return "";
}

double gbits_of(const std::string& interface) {
  double megabits = 0.0;
  std::ifstream("/sys/class/net/" + interface + "/speed") >> megabits;
  return std::max(0.0, megabits / 1000.0);  // virtual ones say -1
}

/// Variables that decide which network a library takes.
std::string network_variables() {
  std::string told;
  for (const std::string& variable : environment())
    for (const char* prefix : {"NCCL_SOCKET_IFNAME=", "NCCL_IB_", "NCCL_NET", "NCCL_P2P_",
                               "FI_PROVIDER=", "UCX_NET_DEVICES=", "OMPI_MCA_btl", "OMPI_MCA_pml", "OMPI_MCA_oob"})
      if (variable.starts_with(prefix)) told += (told.empty() ? "" : " ") + shown(variable);
  return told;
}

/// Who is measured, and with what.
struct Ranks {
  Ops& ops;
  Communicator& all;
  DeviceMemory memory{&ops};

  /// Seconds of what `queue` queues, begun by all ranks together.
  template <typename Queue>
  double seconds(const Queue& queue) {
    all.meet("a measurement");
    const Clock::time_point begin = Clock::now();
    queue();
    all.wait();
    ops.synchronize();
    all.check();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  template <typename Queue>
  std::vector<double> repeated(const Queue& queue) {
    seconds(queue);  // connections are made at the first use
    std::vector<double> times(repetitions);
    for (double& time : times) time = seconds(queue);
    std::sort(times.begin(), times.end());
    return times;
  }
};

/// As rank r alone has data, until they are here.
std::vector<double> seconds_from_each(Ranks& ranks) {
  const TensorView data = ranks.memory.add("data", DType::f32, {pair_mebibytes << 18});
  ranks.ops.zero(data.data, data.bytes());
  std::vector<double> seconds;
  for (std::int64_t source = 0; source < ranks.all.size(); ++source) {
    Shards shards(static_cast<std::size_t>(ranks.all.size() + 1), 0);
    std::fill(shards.begin() + source + 1, shards.end(), data.numel());
    const double median = ranks.repeated([&] { ranks.all.all_gather(data, shards, "data of one rank"); })[repetitions / 2];
    seconds.push_back(source == ranks.all.rank() ? 0.0 : median);
  }
  return seconds;
}

std::string report(const std::vector<RankPlace>& places, const std::string& library, std::int64_t mebibytes,
                   const std::vector<double>& sums, bool ring) {
  std::string text = "library    " + library + "\n";
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    const RankPlace& place = places[rank];
    text += fmt::format("rank {:<5} {}, {}", rank, place.host, place.device);
    if (!place.interface.empty()) text += ", by " + place.interface;
    if (place.link_gbits > 0.0) text += fmt::format(" ({:g} Gbit/s)", place.link_gbits);
    text += "\n";
  }
  const double bytes = static_cast<double>(mebibytes) * 1048576.0, median = sums[repetitions / 2];
  text += fmt::format("all-reduce {} MiB in {:.3g} ms ({:.3g} to {:.3g}), {:.3g} GB/s of each rank's\n", mebibytes, 1e3 * median,
                      1e3 * sums.front(), 1e3 * sums.back(), bytes / median / 1e9);
  double slowest_link = 0.0;
  for (const RankPlace& place : places)
    if (place.link_gbits > 0.0) slowest_link = slowest_link == 0.0 ? place.link_gbits : std::min(slowest_link, place.link_gbits);
  const double between = bytes_between_hosts(places, bytes, ring);
  if (between > 0.0 && slowest_link > 0.0) {
    const double floor = between / (slowest_link / 8.0 * 1e9);
    text += fmt::format("link       {:.3g} ms for what has to leave a host at {:g} Gbit/s: {:.0f} % of the link is used\n",
                        1e3 * floor, slowest_link, 100.0 * floor / median);
    if (median > 2.0 * floor)
      text += "warning    less than half of the link: see docs/clusters.md for the interface, InfiniBand and what slows them\n";
  } else if (between > 0.0) {
    text += "link       the interface does not say how fast it is\n";
  }
  if (const std::string pair = slowest_pair(places, static_cast<double>(pair_mebibytes) * 1048576.0); !pair.empty())
    text +=
        "warning    " + pair + (ring ? "; NCCL hands data on from rank to rank, so look at the ranks before it too" : "") + "\n";
  else if (places.size() > 2)
    text += "pairs      none takes more than twice as long as the middle one\n";
  if (const std::string variables = network_variables(); !variables.empty()) text += "variables  " + variables + "\n";
  return text;
}

}  // namespace

std::string RankPlace::text() const {
  return Json{{"host", host}, {"device", device}, {"interface", interface}, {"link", link_gbits}, {"seconds", seconds}}.dump();
}

RankPlace RankPlace::from_text(const std::string& text) {
  const Json json = Json::parse(text);
  return {json.at("host"), json.at("device"), json.at("interface"), json.at("link"), json.at("seconds")};
}

double bytes_between_hosts(const std::vector<RankPlace>& ranks, double bytes, bool ring) {
  std::map<std::string, double> of_host;
  for (const RankPlace& rank : ranks) ++of_host[rank.host];
  if (of_host.size() < 2) return 0.0;
  const auto size = static_cast<double>(ranks.size());
  if (ring) return 2.0 * (size - 1.0) / size * bytes;
  double most = 0.0;
  for (const auto& [host, local] : of_host) most = std::max(most, 2.0 * local * (size - local) / size * bytes);
  return most;
}

std::string slowest_pair(const std::vector<RankPlace>& ranks, double bytes) {
  struct Pair {
    double seconds;
    std::size_t from, to;
  };
  std::vector<Pair> pairs;
  for (std::size_t to = 0; to < ranks.size(); ++to)
    for (std::size_t from = 0; from < ranks.size(); ++from)
      if (from != to) pairs.push_back({ranks[to].seconds.at(from), from, to});
  if (pairs.size() < 3) return "";  // nothing to be slower than
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.seconds < b.seconds; });
  const Pair &middle = pairs[pairs.size() / 2], &worst = pairs.back();
  if (worst.seconds <= 2.0 * middle.seconds) return "";
  return fmt::format("from rank {} ({}) to rank {} ({}) {:.3g} GB/s, in the middle of all pairs {:.3g} GB/s", worst.from,
                     ranks[worst.from].host, worst.to, ranks[worst.to].host, bytes / worst.seconds / 1e9,
                     bytes / middle.seconds / 1e9);
}

std::string check_ranks(std::int64_t mebibytes, DeviceChoice choice) {
  const Launch launch = read_launch();
  if (launch.size == 1)
    throw Error(
        ExitCode::usage,
        "--ranks: this process is by itself; start it as a run is started: mpirun --bind-to none -n 4 temper doctor --ranks, "
        "srun temper doctor --ranks, or torchrun --no-python --nproc-per-node 8 temper doctor --ranks");
  const std::unique_ptr<Ops> ops = open_device(choice, Precision::fp32, DeviceUse::training, DeviceCheck::off, launch);
  const bool on_gpus = ops->device().backend != "cpu";
  const std::string key = std::string("doctor ") + version_and_build;
  const std::unique_ptr<Communicator> all =
      on_gpus ? make_nccl_communicator(launch, key, {}, *ops) : make_mpi_communicator(launch, key, {});
  RankPlace own{host_name(), describe_device(ops->device()), "", 0.0};
  std::string addresses;
  for (const auto& [address, interface] : interfaces_by_address()) addresses += " " + address;
  const std::vector<std::string> hosts = all->exchange(own.host, "the hosts");
  const std::vector<std::string> places_of = all->exchange(addresses, "the hosts' addresses");
  // Rank 0's own way is that to the first rank elsewhere.
  for (std::size_t rank = 0; rank < hosts.size() && own.interface.empty(); ++rank)
    if (hosts[rank] != own.host && (rank == 0 || hosts[0] == own.host)) own.interface = interface_towards(places_of[rank]);
  own.link_gbits = own.interface.empty() ? 0.0 : gbits_of(own.interface);
  Ranks ranks{*ops, *all};
  const TensorView values = ranks.memory.add("sum", DType::f32, {mebibytes << 18});
  ops->zero(values.data, values.bytes());
  const std::vector<double> sums = ranks.repeated([&] { all->all_reduce(values, "a sum"); });
  own.seconds = seconds_from_each(ranks);
  std::vector<RankPlace> places;
  for (const std::string& text : all->exchange(own.text(), "what was measured")) places.push_back(RankPlace::from_text(text));
  return launch.rank == 0 ? report(places, all->description(), mebibytes, sums, on_gpus) : "";
}

}  // namespace temper
