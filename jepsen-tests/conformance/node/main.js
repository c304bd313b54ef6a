// The official Node client against Tercet; the line protocol stands in ../README.md.
'use strict';
const readline = require('node:readline');
const { Producer, SimpleConsumer } = require('rocketmq-client-nodejs');

const PAUSE_MS = 200;
const INVISIBLE_MS = 30_000;
const AWAIT_MS = 5_000;

const say = line => process.stdout.write(line + '\n');
const pause = () => new Promise(resolve => setTimeout(resolve, PAUSE_MS));
const quiet = { info() {}, warn() {}, debug() {}, error: (...words) => console.error(...words) };

// Repeats `action` until it succeeds; the runner holds the deadline.
async function untilDone(what, action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      console.error(`${what}: ${error}`);
      await pause();
    }
  }
}

async function send(producer, topic, language, first, count) {
  for (let i = first; i < first + count; i++) {
    const message = {
      topic,
      tag: 'conformance',
      keys: [ `key-${i}` ],
      body: Buffer.from(`${language} ${i} \u2713`),
      properties: new Map([[ 'number', String(i) ]]),
    };
    await untilDone('send', () => producer.send(message));
    say(`sent ${i}`);
  }
}

async function receive(consumer, seen, count) {
  const target = seen.size + count;
  while (seen.size < target) {
    for (const message of await untilDone('receive', () => consumer.receive(32, INVISIBLE_MS))) {
      await untilDone('ack', () => consumer.ack(message));
      const hex = Buffer.from(message.body).toString('hex');
      seen.add(hex);
      say(`got ${hex}`);
    }
  }
}

async function started(what, build) {
  return untilDone(what, async () => {
    const client = build();
    await client.startup();
    return client;
  });
}

async function main() {
  const [ endpoints, topic, group, language ] = process.argv.slice(2);
  const shared = { endpoints, namespace: '', logger: quiet };
  const producer = await started('start producer', () => new Producer({ ...shared, topics: [ topic ] }));
  const consumer = await started('start consumer', () => new SimpleConsumer({
    ...shared, consumerGroup: group, subscriptions: new Map([[ topic, '*' ]]), awaitDuration: AWAIT_MS,
  }));
  const seen = new Set();
  say('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [ verb, ...numbers ] = line.split(' ');
    if (verb === 'send') await send(producer, topic, language, ...numbers.map(Number));
    if (verb === 'receive') await receive(consumer, seen, ...numbers.map(Number));
    say('done');
  }
  process.exit(0); // the client's own timers would hold the process
}

main();
