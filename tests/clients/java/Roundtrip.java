import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.AppInfoParser;

public class Roundtrip {
  public static void main(String[] args) throws Exception {
    String topic = args[1];
    int count = Integer.parseInt(args[2]);
    System.out.println("version=" + AppInfoParser.getVersion());
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", args[0]);
    config.put("compression.type", "lz4");

    List<Future<RecordMetadata>> sent = new ArrayList<>();
    try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
      for (int n = 0; n < count; ++n) {
        String text = Integer.toString(n);
        sent.add(producer.send(new ProducerRecord<>(topic, text, text)));
      }
      for (var one : sent) one.get();
    }
    System.out.println("produced=" + sent.size());

    config.put("enable.auto.commit", false);
    boolean[] seen = new boolean[count];
    Map<Integer, Integer> last = new HashMap<>();
    int consumed = 0;
    try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      List<TopicPartition> all = new ArrayList<>();
      for (var p : consumer.partitionsFor(topic)) all.add(new TopicPartition(topic, p.partition()));
      consumer.assign(all);
      consumer.seekToBeginning(all);
      long deadline = System.nanoTime() + 60_000_000_000L;
      while (consumed < count && System.nanoTime() < deadline) {
        for (var r : consumer.poll(Duration.ofMillis(500))) {
          int n = Integer.parseInt(r.value());
          if (!r.key().equals(r.value()) || seen[n] || n <= last.getOrDefault(r.partition(), -1))
            throw new IllegalStateException("record " + n + " is wrong, twice or out of order");
          seen[n] = true;
          last.put(r.partition(), n);
          ++consumed;
        }
      }
    }
    System.out.println("consumed=" + consumed);
  }
}
