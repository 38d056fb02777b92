// kafkajs reads through consumer groups only, which the node does not have yet: this one only writes.
//
// When a leader dies in the middle of a send, kafkajs 2.2.4 asks again only nodes that have not answered yet. A partition
// whose new leader is one that has, for others, is left out, and the send succeeds all the same. The answer lists what was
// written, so this program looks at it and sends the rest again.
const { Kafka, logLevel } = require('kafkajs')

const [address, topic, count] = process.argv.slice(2)
console.log('version=' + require('kafkajs/package.json').version)

async function main() {
  const kafka = new Kafka({ brokers: [address], logLevel: logLevel.ERROR })
  const producer = kafka.producer({ allowAutoTopicCreation: true })
  await producer.connect()
  await producer.send({ topic, messages: [] }) // makes the topic
  const admin = kafka.admin()
  await admin.connect()
  const partitions = (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  await admin.disconnect()
  let produced = 0
  for (let n = 0; n < Number(count); n += 500) {
    const messages = []
    for (let i = n; i < Math.min(n + 500, Number(count)); ++i) {
      messages.push({ key: String(i), value: String(i), partition: i % partitions })
    }
    produced += messages.length
    for (let rest = messages; rest.length > 0; ) {
      const written = new Set((await producer.send({ topic, messages: rest, acks: -1 })).map((r) => r.partition))
      rest = rest.filter((m) => !written.has(m.partition))
    }
  }
  await producer.disconnect()
  console.log('produced=' + produced)
}

main().catch((e) => {
  console.error(e.message)
  process.exit(1)
})
