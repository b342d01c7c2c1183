# temper_room(NAME DEPENDS ...): one static library temper_NAME from the .cpp files of the calling folder. The libraries a
# room links are the rooms it may include; tests/integration/arrows_test checks the includes themselves.
function(temper_room name)
  cmake_parse_arguments(ROOM "" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(temper_${name} STATIC ${sources})
  target_include_directories(temper_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(temper_${name} PRIVATE temper_flags PUBLIC ${ROOM_DEPENDS})
endfunction()

# temper_test_room(NAME DEPENDS ... [PARTS N]): one executable temper_NAME_tests from tests/NAME/*_test.cpp. CTest runs each test in
# a process of its own or, with PARTS, all of them in N processes: a thousand short tests take longer to start than to run.
function(temper_test_room name)
  cmake_parse_arguments(ROOM "" "PARTS" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(temper_${name}_tests ${sources})
  target_include_directories(temper_${name}_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(temper_${name}_tests PRIVATE temper_flags ${ROOM_DEPENDS} GTest::gtest_main)
  target_compile_options(temper_${name}_tests PRIVATE -O1)  # compiled more often than run
  target_precompile_headers(temper_${name}_tests PRIVATE <gtest/gtest.h> <filesystem> <string> <vector>)
  target_compile_definitions(temper_${name}_tests PRIVATE TEMPER_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Tests run side by side: waiting threads must not spin.
  set(environment OMP_WAIT_POLICY=passive)
  if(ROOM_PARTS)
    foreach(part RANGE 1 ${ROOM_PARTS})
      math(EXPR index "${part} - 1")
      add_test(NAME ${name}.part_${part}_of_${ROOM_PARTS} COMMAND temper_${name}_tests --gtest_brief=1)
      set_tests_properties(${name}.part_${part}_of_${ROOM_PARTS} PROPERTIES TIMEOUT 3600 LABELS ${name}
                           ENVIRONMENT "${environment};GTEST_TOTAL_SHARDS=${ROOM_PARTS};GTEST_SHARD_INDEX=${index}")
    endforeach()
  else()
    gtest_discover_tests(temper_${name}_tests DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 1200 LABELS ${name}
                         ENVIRONMENT ${environment})
  endif()
endfunction()
