//! Receives messages in a loop that outlives an outage.

use std::time::Duration;

use tercet_client::{Client, ConsumerOptions, Error, Message, ProducerOptions, TopicType};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let client = Client::connect(&endpoint)?;
    client.admin().create_topic("invoices", 4, TopicType::Normal).await?;
    let producer = client.producer(ProducerOptions::new())?;
    for number in 0..10 {
        let message = Message::builder("invoices").body(format!("invoice {number}")).build()?;
        producer.send(message).await.stored()?;
    }

    let consumer = client.consumer("billing", ["invoices"], ConsumerOptions::new())?;
    let mut left = 10;
    while left > 0 {
        let messages = match consumer.receive().await {
            Ok(messages) => messages,
            // No node could be reached for long: the consumer goes on trying, and so does this.
            Err(error) if error.can_retry() => continue,
            Err(error) => return Err(error),
        };
        for mut message in messages {
            println!("{}, attempt {}", String::from_utf8_lossy(message.body()), message.attempt());
            if message.attempt() > 3 {
                // Not now: deliver it again in a minute.
                consumer.change_invisible_duration(&mut message, Duration::from_secs(60)).await?;
            } else {
                consumer.ack(&message).await?;
                left -= 1;
            }
        }
    }
    consumer.close().await;
    Ok(())
}
