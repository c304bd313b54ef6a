//! Publishes a message, and consumes it.

use tercet_client::{Client, ConsumerOptions, Error, Message, ProducerOptions, TopicType};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let client = Client::connect(&endpoint)?;
    client.admin().create_topic("greetings", 4, TopicType::Normal).await?;

    let producer = client.producer(ProducerOptions::new())?;
    let message = Message::builder("greetings").key("greeting-1").body("hello").build()?;
    let stored = producer.send(message).await.stored()?;
    println!("stored at offset {} as {}", stored.offset, stored.message_id);

    let consumer = client.consumer("readers", ["greetings"], ConsumerOptions::new())?;
    let messages = consumer.receive().await?;
    for message in &messages {
        println!("received {}", String::from_utf8_lossy(message.body()));
    }
    consumer.ack_all(&messages).await?;

    consumer.close().await;
    producer.close().await;
    Ok(())
}
