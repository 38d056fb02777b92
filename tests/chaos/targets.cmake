# Clusters of real nodes, in Python because their clients are. `./dev chaos` runs the random part.
if(TROUPE_ACTORS)
  add_test(NAME chaos_checker COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/chaos/history_test.py)
  set_tests_properties(chaos_checker PROPERTIES TIMEOUT 60 LABELS unit)
  add_test(NAME integration_Cluster COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/chaos/cluster_test.py)
  add_test(NAME integration_ClusterRequests COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/chaos/requests_test.py)
  set_tests_properties(integration_Cluster integration_ClusterRequests PROPERTIES
    TIMEOUT 720 LABELS integration ENVIRONMENT TROUPE_NODE=$<TARGET_FILE:troupe-node>)
  foreach(promises lone tls entities)
    add_test(NAME integration_${promises} COMMAND /usr/bin/python3 -B ${CMAKE_SOURCE_DIR}/tests/chaos/${promises}_test.py)
    set_tests_properties(integration_${promises} PROPERTIES
      TIMEOUT 240 LABELS integration ENVIRONMENT TROUPE_NODE=$<TARGET_FILE:troupe-node>)
  endforeach()
endif()
