# temper_precompiled(NAME HEADERS ... [OPTIONS ...] [DEPENDS ...]): headers, compiled once with these options, for targets that say
# REUSE_FROM NAME.
function(temper_precompiled name)
  cmake_parse_arguments(PRECOMPILED "" "" "HEADERS;OPTIONS;DEPENDS" ${ARGN})
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  target_compile_options(${name} PRIVATE ${PRECOMPILED_OPTIONS})
  target_link_libraries(${name} PRIVATE temper_flags ${PRECOMPILED_DEPENDS})
  target_precompile_headers(${name} PRIVATE ${PRECOMPILED_HEADERS})
endfunction()

# temper_room(NAME DEPENDS ...): one static library temper_NAME from the .cpp files of the calling folder. The libraries a
# room links are the rooms it may include; tests/integration/arrows_test checks the includes themselves. A room that TALKS to files
# and people and leaves arithmetic to others is compiled with fewer optimisations, in two thirds of the time.
function(temper_room name)
  cmake_parse_arguments(ROOM "TALKS" "" "DEPENDS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(temper_${name} STATIC ${sources})
  target_include_directories(temper_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(temper_${name} PRIVATE temper_flags PUBLIC ${ROOM_DEPENDS})
  target_precompile_headers(temper_${name} REUSE_FROM temper_src_headers)
  if(ROOM_TALKS)
    target_compile_options(temper_${name} PRIVATE -O1)
  endif()
endfunction()

# temper_test_room(NAME DEPENDS ... [PARTS N] [WAITS]): one executable temper_NAME_tests from tests/NAME/*_test.cpp. CTest runs each
# test in a process of its own or, with PARTS, all of them in N processes: a thousand short tests take longer to start than to run.
# A test that computes counts as two processors of ctest's -j and one that mostly WAITS as one: with -j twice the number of
# processors, both kinds together keep a machine busy.
function(temper_test_room name)
  cmake_parse_arguments(ROOM "WAITS" "PARTS" "DEPENDS" ${ARGN})
  set(processors 2)
  if(ROOM_WAITS)
    set(processors 1)
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(temper_${name}_tests ${sources})
  target_include_directories(temper_${name}_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(temper_${name}_tests PRIVATE temper_flags ${ROOM_DEPENDS} GTest::gtest_main)
  target_compile_options(temper_${name}_tests PRIVATE -O1)  # compiled more often than run
  target_precompile_headers(temper_${name}_tests REUSE_FROM temper_test_headers)
  target_compile_definitions(temper_${name}_tests PRIVATE TEMPER_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Tests run side by side: waiting threads must not spin.
  set(environment OMP_WAIT_POLICY=passive)
  if(ROOM_PARTS)
    foreach(part RANGE 1 ${ROOM_PARTS})
      math(EXPR index "${part} - 1")
      add_test(NAME ${name}.part_${part}_of_${ROOM_PARTS} COMMAND temper_${name}_tests --gtest_brief=1)
      set_tests_properties(${name}.part_${part}_of_${ROOM_PARTS} PROPERTIES TIMEOUT 3600 LABELS ${name} PROCESSORS 2 COST 20
                           ENVIRONMENT "${environment};GTEST_TOTAL_SHARDS=${ROOM_PARTS};GTEST_SHARD_INDEX=${index}")
    endforeach()
  else()
    gtest_discover_tests(temper_${name}_tests DISCOVERY_MODE PRE_TEST PROPERTIES TIMEOUT 1200 LABELS ${name}
                         PROCESSORS ${processors} ENVIRONMENT ${environment})
  endif()
endfunction()
