# One actor with everything around it replaced: what a shell does, in which order, and what it answers. The shell under
# test is compiled in by itself, because the test brings its own of what the shell would link to.
if(TROUPE_ACTORS)
  troupe_test(node_actor LABELS unit
              USES troupe_node_core troupe_entity_host troupe_raft_table troupe_transport caf_core
              SOURCES ${CMAKE_SOURCE_DIR}/tests/shell/node_actor_test.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/node_actor.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/post_office.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/record_log.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/cluster_directory.cpp
                      ${CMAKE_SOURCE_DIR}/actors/entity/entity_actor.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/replica_host.cpp
                      ${CMAKE_SOURCE_DIR}/actors/node/quorum_writer.cpp
                      ${CMAKE_SOURCE_DIR}/tests/support/caf_leaks.cpp)
  troupe_test(entity_actor USES troupe_shells LABELS unit
              SOURCES ${CMAKE_SOURCE_DIR}/tests/shell/entity_actor_test.cpp)
  troupe_test(transport_links USES troupe_transport LABELS unit
              SOURCES ${CMAKE_SOURCE_DIR}/tests/shell/transport_test.cpp ${CMAKE_SOURCE_DIR}/tests/support/caf_leaks.cpp)
endif()
