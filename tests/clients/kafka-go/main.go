package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
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
	address, topic := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	repeats := len(os.Args) > 4
	fmt.Println("version=" + version("github.com/segmentio/kafka-go"))
	// While nodes die it needs a minute: it looks for new leaders every six seconds.
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
	defer cancel()

	writer := &kafka.Writer{Addr: kafka.TCP(address), Topic: topic, Balancer: &kafka.Hash{}, RequiredAcks: kafka.RequireAll,
		Compression: kafka.Lz4, BatchTimeout: 10 * time.Millisecond, AllowAutoTopicCreation: true}
	messages := make([]kafka.Message, count)
	for n := range messages {
		text := []byte(strconv.Itoa(n))
		messages[n] = kafka.Message{Key: text, Value: text}
	}
	check(writer.WriteMessages(ctx, messages...))
	check(writer.Close())
	fmt.Printf("produced=%d\n", count)

	connection, err := kafka.DialContext(ctx, "tcp", address)
	check(err)
	partitions, err := connection.ReadPartitions(topic)
	check(err)
	check(connection.Close())
	seen := make([]bool, count)
	consumed := 0
	for _, p := range partitions {
		leader, err := kafka.DialLeader(ctx, "tcp", address, topic, p.ID)
		check(err)
		end, err := leader.ReadLastOffset()
		check(err)
		check(leader.Close())
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, Partition: p.ID})
		last := -1
		for read := int64(0); read < end; read++ {
			m, err := reader.ReadMessage(ctx)
			check(err)
			n, err := strconv.Atoi(string(m.Value))
			check(err)
			if string(m.Key) != string(m.Value) || !repeats && (seen[n] || n <= last) {
				check(fmt.Errorf("record %d is wrong, twice or out of order", n))
			}
			if !seen[n] {
				consumed++
			}
			seen[n] = true
			last = n
		}
		check(reader.Close())
	}
	fmt.Printf("consumed=%d\n", consumed)
}
