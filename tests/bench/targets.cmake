# Each tests/bench/<name>.cpp is a program bench_<name>; `./dev bench <name>` builds and runs it. Not part of the tests.
add_custom_target(benchmarks)
function(troupe_bench name)
  add_executable(bench_${name} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/bench/${name}.cpp)
  target_link_libraries(bench_${name} PRIVATE troupe_flags ${ARGN})
  if(TROUPE_LTO)
    target_link_options(bench_${name} PRIVATE -flto=auto -O2)
  endif()
  add_dependencies(benchmarks bench_${name})
endfunction()

troupe_bench(log troupe_store)
troupe_bench(simulation troupe_simulation)

find_library(RDKAFKA rdkafka)
if(TARGET troupe-node AND RDKAFKA)
  troupe_bench(kafka troupe_base ${RDKAFKA} Threads::Threads)
  add_dependencies(bench_kafka troupe-node)
endif()
