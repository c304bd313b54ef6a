//! Publishes in all the ways that there are, and tells the three outcomes apart.

use tercet_client::{Client, Error, Message, MessageError, Outcome, ProducerOptions, TopicType};

fn order(number: u32) -> Result<Message, MessageError> {
    Message::builder("orders").key(format!("order-{number}")).tag("new").body(format!("order {number}")).build()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let client = Client::connect(&endpoint)?;
    client.admin().create_topic("orders", 4, TopicType::Normal).await?;
    let producer = client.producer(ProducerOptions::new())?;

    // One message, to its end.
    match producer.send(order(1)?).await {
        Outcome::Stored(stored) => println!("a majority holds it, at offset {}", stored.offset),
        Outcome::Refused(refused) => println!("nobody will ever see it: {refused}"),
        Outcome::Unknown(unknown) => println!("it may be stored, once: {unknown}"),
    }

    // Many at a time: what waits travels together.
    let mut pending = Vec::new();
    for number in 2..100 {
        pending.push(producer.enqueue(order(number)?).await);
    }
    for outcome in futures::future::join_all(pending).await {
        outcome.stored()?;
    }

    // All or none of them, in one request.
    let outcomes = producer.send_batch(vec![order(100)?, order(101)?]).await;
    println!("{} of 2 are stored", outcomes.iter().filter(|outcome| outcome.is_stored()).count());

    // Without waiting; `flush` and `close` wait for what is under way.
    producer.send_with(order(102)?, |outcome| println!("stored: {}", outcome.is_stored())).await;
    producer.close().await;
    Ok(())
}
