# The simulator: a whole cluster of cores in one thread (docs/simulation.md). Its cores are the removable twins, so that
# the mutation check can take a rule away.
file(GLOB simulator CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
list(FILTER simulator EXCLUDE REGEX "(_test|/main)\\.cpp$")
troupe_room(troupe_simulation tests/simulation SOURCES ${simulator} ${CMAKE_SOURCE_DIR}/actors/partition/restore.cpp
            USES troupe_node_core_removable troupe_entity_host_removable
            troupe_store lz4 zstd snappy ZLIB::ZLIB)
troupe_without_lto(troupe_simulation)

file(GLOB simulation_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.cpp)
troupe_test(simulation SOURCES ${simulation_tests} USES troupe_simulation LABELS storm TIMEOUT 900)
# Simulated disks lie in memory: with large pages a simulation runs half as fast again.
set_tests_properties(simulation PROPERTIES ENVIRONMENT GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
target_compile_definitions(test_simulation PRIVATE TROUPE_SCENARIOS="${CMAKE_CURRENT_LIST_DIR}/scenarios")
add_executable(sim ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
target_link_libraries(sim PRIVATE troupe_simulation)
