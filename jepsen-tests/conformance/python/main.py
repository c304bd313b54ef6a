"""The official Python client against Tercet; the line protocol stands in ../README.md."""

import os
import sys
import time

from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

PAUSE_S = 0.2
INVISIBLE_S = 30


def say(line):
    print(line, flush=True)


def until_done(what, action):
    """Repeats `action` until it returns; the runner holds the deadline."""
    while True:
        try:
            return action()
        except Exception as error:  # any failure of the client is worth another try
            print(f"{what}: {error}", file=sys.stderr, flush=True)
            time.sleep(PAUSE_S)


def send(producer, topic, language, first, count):
    for i in range(first, first + count):

        def attempt():
            message = Message()
            message.topic = topic
            message.body = f"{language} {i} \u2713".encode("utf-8")
            message.tag = "conformance"
            message.keys = f"key-{i}"
            message.add_property("number", str(i))
            producer.send(message)

        until_done("send", attempt)
        say(f"sent {i}")


def receive(consumer, seen, count):
    target = len(seen) + count
    while len(seen) < target:
        for message in until_done("receive", lambda: consumer.receive(32, INVISIBLE_S)) or []:
            until_done("ack", lambda: consumer.ack(message))
            seen.add(bytes(message.body))
            say(f"got {bytes(message.body).hex()}")


def main():
    endpoints, topic, group, language = sys.argv[1:5]
    configuration = ClientConfiguration(endpoints, Credentials())
    producer = Producer(configuration, (topic,))
    until_done("start producer", producer.startup)
    consumer = SimpleConsumer(configuration, group, {topic: FilterExpression("*")}, 5)
    until_done("start consumer", consumer.startup)
    seen = set()
    say("ready")
    for line in sys.stdin:
        words = line.split()
        if words[0] == "send":
            send(producer, topic, language, int(words[1]), int(words[2]))
        elif words[0] == "receive":
            receive(consumer, seen, int(words[1]))
        say("done")
    os._exit(0)  # the client's own threads would hold the process


main()
