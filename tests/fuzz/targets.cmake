# Each tests/fuzz/<name>.cpp defines LLVMFuzzerTestOneInput and becomes fuzz_<name>, which feeds it
# - with TROUPE_FUZZ (clang): what libFuzzer finds, for as long as it is told;
# - otherwise: the corpus in tests/fuzz/corpus/<name>, which there must be, and some seconds of seeded mutations of it
#   (driver.cpp), as a test.
file(GLOB fuzz_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/*.cpp)
list(FILTER fuzz_sources EXCLUDE REGEX "/driver\\.cpp$")
foreach(source IN LISTS fuzz_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(fuzz_${name} ${source})
  target_link_libraries(fuzz_${name} PRIVATE troupe_flags troupe_store troupe_partition troupe_kafka_codec
                                             troupe_controller troupe_node_core troupe_transport_core troupe_limit)
  if(TROUPE_FUZZ)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/driver.cpp)
    troupe_without_lto(fuzz_${name})
    add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
  endif()
endforeach()
