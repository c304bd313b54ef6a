//! Handles messages many at a time, until it is interrupted or has nothing more to do.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tercet_client::{Client, ConsumerOptions, Error, Message, ProducerOptions, ReceivedMessage, TopicType};
use tokio::sync::Notify;

async fn pay(message: ReceivedMessage) -> Result<(), io::Error> {
    let account = message.message_group().unwrap_or("nobody");
    if account == "account-7" && message.attempt() == 1 {
        // The message comes again in a second, and those behind it in its message group after it.
        return Err(io::Error::other("the bank is closed"));
    }
    println!("{account}: {}", String::from_utf8_lossy(message.body()));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let client = Client::connect(&endpoint)?;
    client.admin().create_topic("payments", 4, TopicType::Fifo).await?;
    let producer = client.producer(ProducerOptions::new())?;
    for number in 0..20 {
        let account = format!("account-{}", number % 10);
        let message = Message::builder("payments").message_group(account).body(format!("payment {number}")).build()?;
        producer.send(message).await.stored()?;
    }

    let (left, paid_all) = (Arc::new(AtomicU32::new(20)), Arc::new(Notify::new()));
    let end = {
        let paid_all = Arc::clone(&paid_all);
        async move {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                () = paid_all.notified() => {}
            }
        }
    };
    let handler = move |message| {
        let (left, paid_all) = (Arc::clone(&left), Arc::clone(&paid_all));
        async move {
            pay(message).await?;
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                paid_all.notify_one();
            }
            Ok::<(), io::Error>(())
        }
    };
    let consumer = client.consumer("bank", ["payments"], ConsumerOptions::new())?;
    consumer.for_each_concurrent(8, handler).until(end).await?;
    consumer.close().await;
    Ok(())
}
