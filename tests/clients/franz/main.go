package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	fmt.Println("version=" + version("github.com/twmb/franz-go"))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	producer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.AllowAutoTopicCreation())
	check(err)
	records := make([]*kgo.Record, count)
	for n := range records {
		text := []byte(strconv.Itoa(n))
		records[n] = &kgo.Record{Topic: topic, Key: text, Value: text}
	}
	results := producer.ProduceSync(ctx, records...)
	check(results.FirstErr())
	fmt.Printf("produced=%d\n", len(results))
	producer.Close()

	consumer, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(err)
	defer consumer.Close()
	seen, last := make([]bool, count), map[int32]int{}
	consumed := 0
	for consumed < count {
		fetches := consumer.PollFetches(ctx)
		check(ctx.Err())
		for _, e := range fetches.Errors() {
			check(e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			check(err)
			if before, known := last[r.Partition]; string(r.Key) != string(r.Value) || seen[n] || known && n <= before {
				check(fmt.Errorf("record %d is wrong, twice or out of order", n))
			}
			seen[n] = true
			last[r.Partition] = n
			consumed++
		})
	}
	fmt.Printf("consumed=%d\n", consumed)
}
