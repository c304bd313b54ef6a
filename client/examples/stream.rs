//! Takes messages one by one from a stream.

use futures::StreamExt as _;
use tercet_client::{Client, ConsumerOptions, Error, Message, ProducerOptions, TopicType};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let client = Client::connect(&endpoint)?;
    client.admin().create_topic("events", 4, TopicType::Normal).await?;
    let producer = client.producer(ProducerOptions::new())?;
    for tag in ["created", "paid", "sent"] {
        producer.send(Message::builder("events").tag(tag).body("{}").build()?).await.stored()?;
    }

    let wanted = ConsumerOptions::new().filter("created || paid");
    let consumer = client.consumer("audit", ["events"], wanted)?;
    let mut messages = std::pin::pin!(consumer.messages().take(2));
    while let Some(message) = messages.next().await {
        let message = message?;
        println!("{} at {:?}", message.tag().unwrap_or("-"), message.stored_at());
        consumer.ack(&message).await?;
    }
    consumer.close().await;
    Ok(())
}
