use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static PRODUCED: AtomicUsize = AtomicUsize::new(0);

struct Counting;
impl ClientContext for Counting {}
impl ProducerContext for Counting {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if result.is_ok() {
            PRODUCED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (address, topic, count) = (&args[1], &args[2], args[3].parse::<usize>()?);
    println!("version=0.38.0 (librdkafka {})", rdkafka::util::get_rdkafka_version().1);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("group.id", "none").set("enable.auto.commit", "false");

    let mut once = config.clone();
    once.set("enable.idempotence", "true");
    let producer: BaseProducer<Counting> = once.create_with_context(Counting)?;
    for n in 0..count {
        let text = n.to_string();
        let mut record = BaseRecord::to(topic).key(&text).payload(&text);
        while let Err((_, again)) = producer.send(record) {
            record = again;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(Duration::from_secs(60))?;
    println!("produced={}", PRODUCED.load(Ordering::Relaxed));

    let consumer: BaseConsumer = config.create()?;
    let found = consumer.fetch_metadata(Some(topic), Duration::from_secs(30))?;
    let mut all = TopicPartitionList::new();
    for p in found.topics()[0].partitions() {
        all.add_partition_offset(topic, p.id(), Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let (mut seen, mut last, mut consumed) = (vec![false; count], HashMap::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while consumed < count && Instant::now() < deadline {
        let Some(message) = consumer.poll(Duration::from_millis(500)) else { continue };
        // What librdkafka tells of a connection that it makes anew by itself.
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
        if let Err(KafkaError::MessageConsumption(BrokerTransportFailure | AllBrokersDown)) = message {
            continue;
        }
        let message = message?;
        let n: usize = std::str::from_utf8(message.payload().unwrap_or_default())?.parse()?;
        let in_order = last.insert(message.partition(), n).map_or(true, |before| before < n);
        assert!(message.key() == message.payload() && !seen[n] && in_order, "record {n} is wrong, twice or out of order");
        seen[n] = true;
        consumed += 1;
    }
    println!("consumed={consumed}");
    Ok(())
}
