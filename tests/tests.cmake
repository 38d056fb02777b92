# Linking with link-time optimisation takes seconds; what is only tested does without.
function(troupe_without_lto target)
  if(TROUPE_LTO)
    target_compile_options(${target} PRIVATE -fno-lto)
    target_link_options(${target} PRIVATE -fno-lto)
  endif()
endfunction()

# GoogleTest's header is what most tests spend their compile time on: it is compiled once for all of them.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/test_header.cpp CONTENT "")
add_library(troupe_test_header OBJECT ${CMAKE_BINARY_DIR}/test_header.cpp)
target_link_libraries(troupe_test_header PRIVATE troupe_flags GTest::gtest)
target_precompile_headers(troupe_test_header PRIVATE <gtest/gtest.h>)
troupe_without_lto(troupe_test_header)

# troupe_test(<name> USES … [SOURCES …] [TIMEOUT seconds] [LABELS …]): one GoogleTest binary; sources default to
# tests/unit/<name>/*.cpp.
function(troupe_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SOURCES;USES;LABELS" ${ARGN})
  if(NOT T_SOURCES)
    file(GLOB T_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${name}/*.cpp)
  endif()
  if(NOT T_SOURCES)
    return()
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(test_${name} ${T_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${T_USES} troupe_flags GTest::gtest GTest::gtest_main)
  target_precompile_headers(test_${name} REUSE_FROM troupe_test_header)
  troupe_without_lto(test_${name})
  add_test(NAME ${name} COMMAND test_${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}")
  foreach(label IN LISTS T_LABELS)  # tests_unit, tests_faults, …: to build only these
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} test_${name})
  endforeach()
endfunction()

troupe_test(base USES troupe_base LABELS unit)
troupe_test(store USES troupe_store TIMEOUT 600 LABELS unit)
set(raft_tests ${CMAKE_SOURCE_DIR}/tests/unit/raft)
troupe_test(raft USES troupe_raft LABELS unit
            SOURCES ${raft_tests}/raft_test.cpp ${raft_tests}/desk.cpp ${raft_tests}/member.cpp)
troupe_test(raft_storm USES troupe_raft_removable TIMEOUT 600 LABELS storm
            SOURCES ${raft_tests}/storm_test.cpp ${raft_tests}/storm.cpp ${raft_tests}/desk_storm.cpp
                    ${raft_tests}/desk.cpp ${raft_tests}/member.cpp)
troupe_test(raft_table USES troupe_raft_table troupe_controller LABELS unit)
troupe_test(observe USES troupe_observe LABELS unit)
troupe_test(net USES troupe_net LABELS unit)
# By itself, so that a machine without IPv6 shows as a test that did not run.
set_tests_properties(net PROPERTIES ENVIRONMENT GTEST_FILTER=-*Ipv6)
add_test(NAME net_ipv6 COMMAND test_net --gtest_filter=*Ipv6)
set_tests_properties(net_ipv6 PROPERTIES TIMEOUT 120 LABELS unit SKIP_REGULAR_EXPRESSION "SKIPPED")
troupe_test(transport USES troupe_transport_core LABELS unit)
troupe_test(ring USES troupe_ring LABELS unit)
# With the rules removable: the storms also run without each of them, and must notice.
troupe_test(membership USES troupe_membership_removable LABELS storm TIMEOUT 600)
troupe_test(entities USES troupe_entities_removable LABELS storm TIMEOUT 600)
file(GLOB partition_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/partition/*.cpp)
list(FILTER partition_tests EXCLUDE REGEX "_storm_test\\.cpp$")
troupe_test(partition USES troupe_partition SOURCES ${partition_tests} LABELS unit)
troupe_test(replication_storm USES troupe_partition_removable LABELS storm TIMEOUT 600
            SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/partition/replication_storm_test.cpp)
troupe_test(controller USES troupe_controller LABELS unit)
# With rules that can be removed: each must be missed.
troupe_test(controller_rules USES troupe_controller_removable TIMEOUT 600 LABELS storm)
troupe_test(entity USES troupe_entity_host LABELS unit)
troupe_test(limit USES troupe_limit LABELS unit)
troupe_test(node_codec USES troupe_node_core SOURCES ${CMAKE_SOURCE_DIR}/tests/unit/node/node_codec_test.cpp LABELS unit)
troupe_test(kafka_codec USES troupe_kafka_codec LABELS unit)
troupe_test(kafka_bytes USES troupe_kafka_bytes LABELS unit)
if(TROUPE_ACTORS)
  troupe_test(partition_shell USES troupe_shells LABELS unit)
  troupe_test(rest USES troupe_rest_gateway LABELS unit)
  troupe_test(kafka_gateway USES troupe_kafka_gateway LABELS unit)
  file(GLOB node_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/node/*.cpp)
  list(FILTER node_tests EXCLUDE REGEX "/node_codec_test\\.cpp$")
  troupe_test(node USES troupe_node_parts SOURCES ${node_tests} LABELS unit)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/tests/unit/node/options_test.cpp
                              PROPERTIES COMPILE_DEFINITIONS TROUPE_CONFIGS="${CMAKE_SOURCE_DIR}/configs")
endif()

# Each further file of these adds its own targets: store faults, fuzz targets, benchmarks, integration.
file(GLOB more CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*/targets.cmake)
foreach(file IN LISTS more)
  include(${file})
endforeach()
