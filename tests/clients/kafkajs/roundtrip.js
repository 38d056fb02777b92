// kafkajs reads through consumer groups only, which the node does not have yet: this one only writes.
const { Kafka, logLevel } = require('kafkajs')

const [address, topic, count] = process.argv.slice(2)
console.log('version=' + require('kafkajs/package.json').version)

async function main() {
  const producer = new Kafka({ brokers: [address], logLevel: logLevel.ERROR }).producer({ allowAutoTopicCreation: true })
  await producer.connect()
  let produced = 0
  for (let n = 0; n < Number(count); n += 500) {
    const messages = []
    for (let i = n; i < Math.min(n + 500, Number(count)); ++i) messages.push({ key: String(i), value: String(i) })
    await producer.send({ topic, messages, acks: -1 })
    produced += messages.length
  }
  await producer.disconnect()
  console.log('produced=' + produced)
}

main().catch((e) => {
  console.error(e.message)
  process.exit(1)
})
