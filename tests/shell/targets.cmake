# One actor with everything around it replaced: what a shell does, in which order, and what it answers. The shell under
# test is compiled in by itself, because the test brings its own of what the shell would link to.
if(TROUPE_ACTORS)
  troupe_test(controller_actor USES troupe_partition troupe_controller troupe_store troupe_observe caf_core LABELS unit
              SOURCES ${CMAKE_SOURCE_DIR}/tests/shell/controller_actor_test.cpp
                      ${CMAKE_SOURCE_DIR}/actors/controller/controller_actor.cpp)
  troupe_test(transport_links USES troupe_transport LABELS unit
              SOURCES ${CMAKE_SOURCE_DIR}/tests/shell/transport_test.cpp)
endif()
