// What failing_write_test.sh runs under the shim: a folder with a large file, then a small file replaced. Exit codes are temper's.
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "io/error.h"
#include "io/file.h"

int main(int argc, char** argv) {
  if (argc != 2) return static_cast<int>(temper::ExitCode::usage);
  const std::filesystem::path folder = argv[1];
  try {
    std::filesystem::create_directory(folder / "out");
    temper::FileWriter writer(folder / "out" / "data");
    for (char letter = 'a'; letter < 'd'; ++letter) writer.write(std::string(100'001, letter));
    const std::string hash = writer.close();
    temper::sync_folder(folder / "out");
    temper::write_file_atomically(folder / "status", "new\n");
    std::puts(hash.c_str());
    return 0;
  } catch (const temper::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::filesystem::filesystem_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(temper::ExitCode::io);
  }
}
