/// What the leak sanitizer is to overlook, in tests whose nodes listen: CAF 0.17 now and then loses the doorman of a
/// system that ends (200 bytes, once for each).
extern "C" const char* __lsan_default_suppressions() {
  return "leak:caf::io::network::default_multiplexer::new_doorman\n";
}
