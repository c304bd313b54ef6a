//! What a broken or hostile client sends is answered with an error that names it, and harms nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use jepsen_tests::{
    checkers,
    cluster::Cluster,
    history::Recorder,
    setup,
    workload::{drain, publish},
};
use tercet_proto::rocketmq::v2::{self as pb, messaging_service_client::MessagingServiceClient};
use tonic::{Request, transport::Channel};

use crate::shared;

const TOPIC: &str = "nonsense";
const LIMIT: Duration = Duration::from_secs(30);
/// The client port takes bodies of 4 MiB and requests of somewhat more.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// A request with one message, which the caller spoils.
fn message(topic: &str, body: Vec<u8>) -> pb::Message {
    pb::Message {
        topic: Some(pb::Resource { name: topic.to_owned(), ..Default::default() }),
        body: body.into(),
        system_properties: Some(pb::SystemProperties {
            message_id: "01000000000000000000000000000000FF".to_owned(),
            body_encoding: pb::Encoding::Identity.into(),
            message_type: pb::MessageType::Normal.into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn send(client: &mut MessagingServiceClient<Channel>, message: pb::Message) -> Result<pb::Status, tonic::Status> {
    let mut request = Request::new(pb::SendMessageRequest { messages: vec![message] });
    request.metadata_mut().insert("x-mq-client-id", "nonsense".parse().unwrap());
    let answer = client.send_message(request).await?.into_inner();
    Ok(answer.status.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_with_an_error_that_names_it_and_harms_nothing() {
    let _turn = shared::turn().await;
    let cluster = Cluster::start().await.unwrap();
    setup::create_topic(&cluster, TOPIC, 2).await.unwrap();
    let recorder = Arc::new(Recorder::default());
    let publisher = publish::Publisher::start(&shared::steady(&cluster, TOPIC, "p"), &recorder).unwrap();
    shared::more_acknowledged(&cluster, &recorder, 50, LIMIT).await.unwrap();

    for node in cluster.nodes() {
        assert_bad_sends_are_named(node.client()).await;
        for address in [node.client(), node.peer(), node.http()] {
            assert_bytes_are_survived(address);
        }
        assert!(node.is_running(), "node {} lives on", node.id());
    }

    shared::more_acknowledged(&cluster, &recorder, 50, LIMIT).await.unwrap();
    publisher.stop().await;
    drain::drain(&cluster, TOPIC, "reader", &recorder, LIMIT).await.unwrap();
    checkers::assert_none("published messages", &checkers::published(&recorder.events()));
    shared::assert_replicas_equal(&cluster).await;
}

async fn assert_bad_sends_are_named(address: &str) {
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = MessagingServiceClient::new(channel).max_encoding_message_size(REQUEST_BYTES_MAX);

    let unknown = send(&mut client, message("no-such-topic", b"x".to_vec())).await.unwrap();
    assert_eq!(unknown.code(), pb::Code::TopicNotFound, "{unknown:?}");
    assert!(unknown.message.contains("no-such-topic"), "{unknown:?}");

    let illegal = send(&mut client, message("no such topic", b"x".to_vec())).await.unwrap();
    assert_eq!(illegal.code(), pb::Code::IllegalTopic, "{illegal:?}");

    let oversized = send(&mut client, message(TOPIC, vec![b'x'; (4 << 20) + 1])).await.unwrap();
    assert_eq!(oversized.code(), pb::Code::MessageBodyTooLarge, "{oversized:?}");
    assert!(oversized.message.contains("4194305") || oversized.message.contains("4194304"), "{oversized:?}");

    let empty = send(&mut client, message(TOPIC, Vec::new())).await.unwrap();
    assert_eq!(empty.code(), pb::Code::MessageBodyEmpty, "{empty:?}");

    let nameless = pb::Message { system_properties: None, ..message(TOPIC, b"x".to_vec()) };
    let nameless = send(&mut client, nameless).await.unwrap();
    assert_eq!(nameless.code(), pb::Code::IllegalMessageId, "{nameless:?}");

    // Beyond what the port takes at all, the transport refuses; it must not be stored, and the node must live on.
    let huge = send(&mut client, message(TOPIC, vec![b'x'; 20 << 20])).await;
    assert!(huge.as_ref().is_err() || huge.as_ref().is_ok_and(|status| status.code() != pb::Code::Ok), "{huge:?}");
}

/// Raw bytes of several kinds; whatever the port answers, it must not hang on to them or die of them.
fn assert_bytes_are_survived(address: &str) {
    let huge_length = [0xff_u8; 64];
    let half_tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
    let half_http2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x04";
    let http1 = b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n";
    for bytes in [&huge_length[..], half_tls, half_http2, http1, &[0_u8; 4096]] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        // It may close the connection before everything is written or read.
        let _ = stream.write_all(bytes);
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(!answer.contains("root:"), "{answer}");
    }
}
