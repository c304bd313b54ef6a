//! The official Rust client against Tercet; the line protocol stands in ../README.md.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::MessageBuilder;
use rocketmq::{Producer, SimpleConsumer};
use tokio::io::{AsyncBufReadExt, BufReader};

const PAUSE: Duration = Duration::from_millis(200);
const INVISIBLE: Duration = Duration::from_secs(30);

/// Repeats `action` until it succeeds; the runner holds the deadline.
async fn until_done<T, E: Display, F: Future<Output = Result<T, E>>>(what: &str, mut action: impl FnMut() -> F) -> T {
    loop {
        match action().await {
            Ok(value) => return value,
            Err(error) => eprintln!("{what}: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn client_option(endpoints: &str) -> ClientOption {
    let mut option = ClientOption::default();
    option.set_access_url(endpoints);
    option.set_enable_tls(false);
    option.set_timeout(Duration::from_secs(5));
    option.set_long_polling_timeout(Duration::from_secs(5));
    option
}

async fn start_producer(endpoints: &str, topic: &str) -> Producer {
    until_done("start producer", || async {
        let mut option = ProducerOption::default();
        option.set_topics(vec![topic]);
        let mut producer = Producer::new(option, client_option(endpoints))?;
        producer.start().await?;
        Ok::<_, rocketmq::error::ClientError>(producer)
    })
    .await
}

async fn start_consumer(endpoints: &str, topic: &str, group: &str) -> SimpleConsumer {
    until_done("start consumer", || async {
        let mut option = SimpleConsumerOption::default();
        option.set_topics(vec![topic]);
        option.set_consumer_group(group);
        let mut consumer = SimpleConsumer::new(option, client_option(endpoints))?;
        consumer.start().await?;
        Ok::<_, rocketmq::error::ClientError>(consumer)
    })
    .await
}

async fn send(producer: &Producer, topic: &str, language: &str, first: u64, count: u64) {
    for i in first..first + count {
        until_done("send", || {
            let message = MessageBuilder::builder()
                .set_topic(topic)
                .set_tag("conformance")
                .set_keys(vec![format!("key-{i}")])
                .set_properties(HashMap::from([("number", i.to_string())]))
                .set_body(format!("{language} {i} \u{2713}").into_bytes())
                .build()
                .expect("the message is legal");
            producer.send(message)
        })
        .await;
        println!("sent {i}");
    }
}

async fn receive(consumer: &SimpleConsumer, topic: &str, seen: &mut HashSet<Vec<u8>>, count: usize) {
    let target = seen.len() + count;
    let everything = FilterExpression::new(FilterType::Tag, "*");
    while seen.len() < target {
        let messages = until_done("receive", || consumer.receive_with(topic, &everything, 32, INVISIBLE)).await;
        for message in messages {
            until_done("ack", || consumer.ack(&message)).await;
            seen.insert(message.body().to_vec());
            let hex: String = message.body().iter().map(|byte| format!("{byte:02x}")).collect();
            println!("got {hex}");
        }
    }
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [endpoints, topic, group, language] = words.as_slice() else { panic!("four arguments") };
    let producer = start_producer(endpoints, topic).await;
    let consumer = start_consumer(endpoints, topic, group).await;
    let mut seen = HashSet::new();
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await.expect("standard input is readable") {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse().expect("a number");
        match words[0] {
            "send" => send(&producer, topic, language, number(1), number(2)).await,
            "receive" => receive(&consumer, topic, &mut seen, number(1) as usize).await,
            verb => panic!("unknown verb {verb}"),
        }
        println!("done");
    }
    std::process::exit(0); // the client's own tasks would hold the process
}
