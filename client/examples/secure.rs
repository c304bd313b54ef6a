//! Consumes with TLS, as somebody who has a key.

use tercet_client::{
    Client, ClientOptions, ConsumerOptions, Credentials, Endpoint, Error, ReceivedMessage, TlsOptions,
};

async fn bill(message: ReceivedMessage) {
    println!("{}", String::from_utf8_lossy(message.body()));
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let options = ClientOptions::new(Endpoint::parse_list(&endpoint)?)
        .tls(TlsOptions::new().ca_file("ca.pem"))
        .credentials(Credentials::from_file("me.key")?);
    let client = Client::new(options)?;

    let consumer = client.consumer("billing", ["orders"], ConsumerOptions::new())?;
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    consumer.for_each_concurrent(16, bill).until(ctrl_c).await?;
    consumer.close().await;
    Ok(())
}
