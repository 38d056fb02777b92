package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/IBM/sarama"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return d.Version
			}
		}
	}
	return "?"
}

func main() {
	address, topic := []string{os.Args[1]}, os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	repeats := len(os.Args) > 4
	fmt.Println("version=" + version("github.com/IBM/sarama"))

	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Compression = sarama.CompressionZSTD
	producer, err := sarama.NewSyncProducer(address, config)
	check(err)
	messages := make([]*sarama.ProducerMessage, count)
	for n := range messages {
		text := sarama.StringEncoder(strconv.Itoa(n))
		messages[n] = &sarama.ProducerMessage{Topic: topic, Key: text, Value: text}
	}
	check(producer.SendMessages(messages))
	fmt.Printf("produced=%d\n", len(messages))
	check(producer.Close())

	consumer, err := sarama.NewConsumer(address, config)
	check(err)
	partitions, err := consumer.Partitions(topic)
	check(err)
	all := make(chan *sarama.ConsumerMessage, 1024)
	for _, p := range partitions {
		one, err := consumer.ConsumePartition(topic, p, sarama.OffsetOldest)
		check(err)
		go func() {
			for m := range one.Messages() {
				all <- m
			}
		}()
	}
	seen, last := make([]bool, count), map[int32]int{}
	consumed := 0
	limit := time.After(time.Minute)
	for consumed < count {
		select {
		case m := <-all:
			n, err := strconv.Atoi(string(m.Value))
			check(err)
			if before, known := last[m.Partition]; string(m.Key) != string(m.Value) || !repeats && (seen[n] || known && n <= before) {
				check(fmt.Errorf("record %d is wrong, twice or out of order", n))
			}
			if !seen[n] {
				consumed++
			}
			seen[n] = true
			last[m.Partition] = n
		case <-limit:
			check(fmt.Errorf("only %d records came within a minute", consumed))
		}
	}
	fmt.Printf("consumed=%d\n", consumed)
}
