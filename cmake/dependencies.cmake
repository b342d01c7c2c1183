# Where each library comes from; third_party/README.md says why it was chosen. Nothing is downloaded here.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(fmt 9.1 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)

# Asio without Boost: headers alone.
find_path(TEMPER_ASIO_FOLDER asio.hpp REQUIRED)
add_library(temper_asio INTERFACE)
target_include_directories(temper_asio SYSTEM INTERFACE ${TEMPER_ASIO_FOLDER})
target_compile_definitions(temper_asio INTERFACE ASIO_STANDALONE)

if(TEMPER_TESTS)
  find_package(GTest REQUIRED)
endif()
