//! Connects with TLS, and signs what it asks for.

use std::time::Duration;

use tercet_client::{Client, ClientOptions, Credentials, Endpoint, Error, TlsOptions};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let authority = std::env::var("TERCET_TLS_CA").unwrap_or("ca.pem".into());

    let options = ClientOptions::new(Endpoint::parse_list(&endpoint)?)
        .tls(TlsOptions::new().ca_file(authority))
        .credentials(Credentials::new("billing", "its secret")?)
        .call_timeout(Duration::from_secs(30));
    let client = Client::new(options)?;

    for topic in client.admin().list_topics().await? {
        println!("{}", topic.name);
    }
    Ok(())
}
