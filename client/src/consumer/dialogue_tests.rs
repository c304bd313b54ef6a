//! The rules one by one.

use futures::FutureExt as _;
use tercet_proto::client::v1::Delivered;

use super::*;

const INVISIBLE: Duration = Duration::from_secs(30);

fn dialogue(fifo: bool) -> (Arc<Buffer>, Dialogue) {
    let buffer = Arc::new(Buffer::new(1));
    let mut dialogue = Dialogue::new("t".into(), 0, Arc::clone(&buffer), INVISIBLE);
    dialogue.begin(crate::broker_group::BrokerGroup(0), fifo);
    (buffer, dialogue)
}

fn batch(number: u64, nonce: u64, offset: u64) -> consume_answer::Content {
    let messages = vec![Delivered { offset, ..Delivered::default() }];
    consume_answer::Content::Batch(Batch { number, nonce, bytes: 100, messages, ..Batch::default() })
}

/// The offsets that are given back by what is said, and the credit.
fn said(dialogue: &mut Dialogue) -> (Vec<u64>, Credit) {
    let (mut back, mut granted) = (Vec::new(), Credit::default());
    for content in dialogue.say() {
        match content {
            Content::Credit(credit) => {
                granted.messages += credit.messages;
                granted.bytes += credit.bytes;
                granted.arrived = credit.arrived;
            }
            Content::Settle(settle) => {
                for change in settle.changes {
                    assert!(change.uncounted && change.invisible_ms == 0);
                    let run = change.run.unwrap();
                    back.extend(run.offset..run.offset + u64::from(run.count));
                }
            }
            Content::Open(_) => panic!("a stream is opened by its worker"),
        }
    }
    (back, granted)
}

/// Its other part is still at the node, and could be of the same message group.
#[tokio::test(start_paused = true)]
async fn with_the_order_the_rest_of_a_receive_goes_back_behind_its_stale_part() {
    for fifo in [true, false] {
        let (buffer, mut dialogue) = dialogue(fifo);
        dialogue.hear(batch(1, 7, 0));
        assert_eq!(dialogue.stale_at(), Some(Instant::now() + INVISIBLE / 2));
        tokio::time::advance(INVISIBLE / 2).await;
        dialogue.give_back_stale();
        assert_eq!(said(&mut dialogue), (vec![0], Credit { messages: 1, bytes: 100, arrived: 1 }));
        dialogue.hear(batch(2, 7, 1));
        dialogue.hear(batch(3, 8, 2));
        let back = if fifo { vec![1] } else { vec![] };
        assert_eq!(said(&mut dialogue).0, back);
        let next = buffer.next(usize::MAX).now_or_never().unwrap().unwrap();
        assert_eq!(next[0].offset(), if fifo { 2 } else { 1 }, "another receive is another matter");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_order_nothing_is_handed_out_behind_a_message_that_cannot_be_read() {
    let (buffer, mut dialogue) = dialogue(true);
    let message =
        |offset, properties: &'static [u8]| Delivered { offset, properties: properties.into(), ..Delivered::default() };
    let messages = vec![message(0, b""), message(1, b"\xff\xff"), message(2, b"")];
    dialogue.hear(consume_answer::Content::Batch(Batch {
        number: 1,
        nonce: 7,
        bytes: 300,
        messages,
        ..Batch::default()
    }));
    assert_eq!(said(&mut dialogue).0, [2]);
    assert!(matches!(buffer.next(usize::MAX).now_or_never(), Some(Err(Error::Corrupt { offset: 1, .. }))));
    assert_eq!(buffer.next(usize::MAX).now_or_never().unwrap().unwrap()[0].offset(), 0);
}

/// A node that saw the connection break has given back what it did not know to have arrived.
#[tokio::test]
async fn after_a_break_only_what_the_node_surely_knew_to_have_arrived_is_handed_out() {
    for (fifo, expected) in [(false, vec![2]), (true, vec![1, 2])] {
        let (buffer, mut dialogue) = dialogue(fifo);
        dialogue.hear(batch(1, 7, 0));
        dialogue.hear(batch(2, 8, 1));
        let first = buffer.next(usize::MAX).now_or_never().unwrap().unwrap();
        dialogue.order([Order { references: vec![first[0].reference], fate: Fate::Done, waiter: None }]);
        said(&mut dialogue);
        dialogue.hear(consume_answer::Content::Settled(Settled { number: 1, ..Settled::default() }));
        dialogue.hear(batch(3, 9, 2));
        said(&mut dialogue);
        dialogue.broke();
        dialogue.begin(crate::broker_group::BrokerGroup(0), fifo);
        assert_eq!(said(&mut dialogue).0, expected);
        // Of another stream, whatever its batches are numbered.
        dialogue.broke();
        dialogue.begin(crate::broker_group::BrokerGroup(0), fifo);
        assert_eq!(buffer.next(usize::MAX).now_or_never().is_some(), !fifo);
    }
}
