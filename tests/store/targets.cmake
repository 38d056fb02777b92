# What the store promises when the disk, the power or the process fails. One binary per kind of fault, so that they can
# run side by side. faulty_disk.cpp replaces functions of the C library and must be linked as an object.
set(store_faults ${CMAKE_SOURCE_DIR}/tests/store)
function(troupe_store_test name)
  set(sources ${ARGN})
  list(TRANSFORM sources PREPEND ${store_faults}/)
  troupe_test(${name} SOURCES ${sources} ${store_faults}/workload.cpp USES troupe_store lmdb TIMEOUT 900 LABELS faults)
endfunction()
troupe_store_test(store_power_cuts power_cut_test.cpp faulty_disk.cpp)
troupe_store_test(store_kills kill_test.cpp)
troupe_store_test(store_damage damage_test.cpp)
troupe_store_test(store_io_errors io_error_test.cpp faulty_disk.cpp)
troupe_store_test(store_space space_test.cpp)
