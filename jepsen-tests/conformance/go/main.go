// The official Go client against Tercet; the line protocol stands in ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

const (
	pause      = 200 * time.Millisecond
	invisible  = 30 * time.Second
	await      = 5 * time.Second
	batch      = int32(32)
	sendWithin = 5 * time.Second
)

// untilDone repeats action until it succeeds; the runner holds the deadline.
func untilDone(what string, action func() error) {
	for {
		err := action()
		if err == nil {
			return
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		time.Sleep(pause)
	}
}

func send(producer rmq.Producer, topic, language string, first, count int) {
	for i := first; i < first+count; i++ {
		untilDone("send", func() error {
			message := &rmq.Message{Topic: topic, Body: []byte(fmt.Sprintf("%s %d \u2713", language, i))}
			message.SetTag("conformance")
			message.SetKeys("key-" + strconv.Itoa(i))
			message.AddProperty("number", strconv.Itoa(i))
			within, cancel := context.WithTimeout(context.Background(), sendWithin)
			defer cancel()
			_, err := producer.Send(within, message)
			return err
		})
		fmt.Printf("sent %d\n", i)
	}
}

func receive(consumer rmq.SimpleConsumer, seen map[string]bool, count int) {
	target := len(seen) + count
	for len(seen) < target {
		messages, err := consumer.Receive(context.Background(), batch, invisible)
		if err != nil {
			fmt.Fprintf(os.Stderr, "receive: %v\n", err)
			time.Sleep(pause)
			continue
		}
		for _, message := range messages {
			untilDone("ack", func() error { return consumer.Ack(context.Background(), message) })
			body := hex.EncodeToString(message.GetBody())
			seen[body] = true
			fmt.Printf("got %s\n", body)
		}
	}
}

func main() {
	endpoints, topic, group, language := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	config := func() *rmq.Config {
		return &rmq.Config{Endpoint: endpoints, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{}}
	}
	var producer rmq.Producer
	untilDone("start producer", func() (err error) {
		if producer, err = rmq.NewProducer(config(), rmq.WithTopics(topic)); err == nil {
			err = producer.Start()
		}
		return err
	})
	var consumer rmq.SimpleConsumer
	untilDone("start consumer", func() (err error) {
		everything := map[string]*rmq.FilterExpression{topic: rmq.SUB_ALL}
		consumer, err = rmq.NewSimpleConsumer(config(),
			rmq.WithSimpleAwaitDuration(await), rmq.WithSimpleSubscriptionExpressions(everything))
		if err == nil {
			err = consumer.Start()
		}
		return err
	})
	seen := map[string]bool{}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		number := func(at int) int {
			value, err := strconv.Atoi(words[at])
			if err != nil {
				panic(err)
			}
			return value
		}
		switch words[0] {
		case "send":
			send(producer, topic, language, number(1), number(2))
		case "receive":
			receive(consumer, seen, number(1))
		}
		fmt.Println("done")
	}
}
