//! `tercet group describe` and `tercet group progress`.

use std::{io, time::Duration};

use serde::Serialize;
use tercet_client::{GroupDescription, QueueProgress};

use super::{
    super::{args::Format, output},
    settings::Group,
};

/// What `describe` shows as JSON.
#[derive(Debug, Serialize)]
struct Described {
    #[serde(flatten)]
    group: Group,
    /// Whether a first subscription made it.
    automatic: bool,
    dead_letters: u64,
    consumer_count: u32,
    consumers: Vec<Consumer>,
    topics: Vec<Backlog>,
}

#[derive(Debug, Serialize)]
struct Consumer {
    client_id: String,
    streams: u32,
}

/// What the group has yet to do in a topic.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Backlog {
    topic: String,
    queues: u32,
    lag: u64,
    ready: u64,
    redeliveries: u64,
    in_flight: u64,
    oldest_millis: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Queue<'a> {
    topic: &'a str,
    queue: u32,
    first_offset: u64,
    consumer_offset: u64,
    taken_offset: u64,
    next_offset: u64,
    lag: u64,
    ready: u64,
    redeliveries: u64,
    in_flight: u64,
    oldest_millis: Option<u64>,
}

pub(super) fn describe(answer: GroupDescription, format: Format) -> io::Result<()> {
    let topics = topics(&answer);
    let consumers = answer.consumers.into_iter();
    let described = Described {
        group: Group::of(answer.group),
        automatic: answer.automatic,
        dead_letters: answer.dead_letters,
        consumer_count: answer.consumer_count,
        consumers: consumers.map(|of| Consumer { client_id: of.client_id, streams: of.streams }).collect(),
        topics,
    };
    if format == Format::Table {
        output::line(&heading(&described))?;
    }
    let rows = described.topics.iter().map(|of| {
        let [queues, lag, ready, again, in_flight] =
            [u64::from(of.queues), of.lag, of.ready, of.redeliveries, of.in_flight].map(|number| number.to_string());
        [of.topic.clone(), queues, lag, ready, again, in_flight, age_text(of.oldest_millis)]
    });
    output::print(format, ["TOPIC", "QUEUES", "LAG", "READY", "AGAIN", "IN FLIGHT", "OLDEST"], rows, &described)
}

fn heading(of: &Described) -> String {
    let Group { name, fifo, max_attempts, from } = &of.group;
    let order = if *fifo { "fifo" } else { "none" };
    let made = if of.automatic { ", made by a subscription" } else { "" };
    let mut text = format!(
        "group {name}: order {order}, {max_attempts} attempts, from {from}{made}\n{} dead letters, {} consumers connected to \
         the leader",
        of.dead_letters, of.consumer_count
    );
    for consumer in &of.consumers {
        text += &format!("\n  {} ({} streams)", consumer.client_id, consumer.streams);
    }
    text
}

pub(super) fn by_queue(answer: &GroupDescription, format: Format) -> io::Result<()> {
    let queues: Vec<Queue<'_>> = answer.queues.iter().map(queue).collect();
    let rows = queues.iter().map(|of| {
        let [first, consumer, next] = [of.first_offset, of.consumer_offset, of.next_offset].map(|n| n.to_string());
        let [lag, ready, again, in_flight] =
            [of.lag, of.ready, of.redeliveries, of.in_flight].map(|number| number.to_string());
        let (topic, queue) = (of.topic.to_owned(), of.queue.to_string());
        [topic, queue, first, consumer, next, lag, ready, again, in_flight, age_text(of.oldest_millis)]
    });
    let headings = ["TOPIC", "QUEUE", "FIRST", "CONSUMER", "NEXT", "LAG", "READY", "AGAIN", "IN FLIGHT", "OLDEST"];
    output::print(format, headings, rows, &queues)
}

fn queue(of: &QueueProgress) -> Queue<'_> {
    Queue {
        topic: &of.topic,
        queue: of.queue,
        first_offset: of.first_offset,
        consumer_offset: of.consumer_offset,
        taken_offset: of.taken_offset,
        next_offset: of.next_offset,
        lag: of.lag(),
        ready: of.ready,
        redeliveries: of.redeliveries,
        in_flight: of.in_flight,
        oldest_millis: of.oldest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// The sums of each topic; its queues follow each other.
fn topics(answer: &GroupDescription) -> Vec<Backlog> {
    let of_topic = |queues: &[QueueProgress]| {
        let empty = Backlog { topic: queues[0].topic.clone(), ..Backlog::default() };
        queues.iter().map(queue).fold(empty, |sum, of| Backlog {
            queues: sum.queues + 1,
            lag: sum.lag + of.lag,
            ready: sum.ready + of.ready,
            redeliveries: sum.redeliveries + of.redeliveries,
            in_flight: sum.in_flight + of.in_flight,
            oldest_millis: sum.oldest_millis.max(of.oldest_millis),
            ..sum
        })
    };
    answer.queues.chunk_by(|one, next| one.topic == next.topic).map(of_topic).collect()
}

/// In whole seconds from one second on.
fn age_text(millis: Option<u64>) -> String {
    let Some(millis) = millis else { return String::from("-") };
    let age = if millis < 1000 { Duration::from_millis(millis) } else { Duration::from_secs(millis / 1000) };
    humantime::format_duration(age).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(topic: &str, queue: u32, ready: u64, seconds: Option<u64>) -> QueueProgress {
        let mut progress = QueueProgress::default();
        (progress.topic, progress.queue, progress.ready) = (topic.to_owned(), queue, ready);
        (progress.in_flight, progress.redeliveries, progress.oldest) = (2, 1, seconds.map(Duration::from_secs));
        progress
    }

    #[test]
    fn queues_are_summed_by_topic_and_the_oldest_counts() {
        let mut answer = GroupDescription::default();
        answer.queues = vec![progress("a", 0, 3, Some(3)), progress("a", 1, 4, Some(1)), progress("b", 0, 0, None)];
        let sum = |topic: &str, queues: u32, ready, oldest_millis| Backlog {
            topic: topic.to_owned(),
            queues,
            lag: ready + 2 * u64::from(queues),
            ready,
            redeliveries: u64::from(queues),
            in_flight: 2 * u64::from(queues),
            oldest_millis,
        };
        assert_eq!(topics(&answer), [sum("a", 2, 7, Some(3_000)), sum("b", 1, 0, None)]);
        assert_eq!(queue(&answer.queues[0]).lag, 5);
    }

    #[test]
    fn ages_are_told_shortly() {
        assert_eq!(
            [None, Some(0), Some(999), Some(1_500), Some(3_600_123)].map(age_text),
            ["-", "0s", "999ms", "1s", "1h"]
        );
    }
}
