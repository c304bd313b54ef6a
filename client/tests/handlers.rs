//! What `for_each_concurrent` and `messages` do with what is pushed.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fake::{Call, Group};
use futures::StreamExt as _;
use tercet_client::{Client, Consumer, ConsumerOptions, Error, Handled, ReceivedMessage};
use tercet_proto::client::v1::{Change, EndReason, Run, Settle, Settled, consume_answer::Content};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

async fn consumer(group: &Group, options: ConsumerOptions) -> (Consumer, Call) {
    let client = Client::connect(&group.addresses()).unwrap();
    let consumer = client.consumer("g", ["t"], options).unwrap();
    let mut call = group.call().await;
    call.open().await;
    (consumer, call)
}

/// The offsets that are acknowledged, and those that are to come again, with when, and whether it counts.
type Said = (Vec<u64>, Vec<(u64, u64, bool)>);

fn said(settle: &Settle) -> Said {
    let offsets = |run: &Run| run.offset..run.offset + u64::from(run.count);
    let change = |change: &Change| {
        let (after, counts) = (change.invisible_ms, !change.uncounted);
        offsets(change.run.as_ref().unwrap()).map(move |offset| (offset, after, counts)).collect::<Vec<_>>()
    };
    (settle.done.iter().flat_map(offsets).collect(), settle.changes.iter().flat_map(change).collect())
}

/// What is said of `count` messages, sorted; each request is answered as done.
async fn settled(call: &mut Call, count: usize) -> Said {
    let mut all = Said::default();
    while all.0.len() + all.1.len() < count {
        let (settle, _) = call.settle().await;
        let (done, changes) = said(&settle);
        let deadlines_unix_ms = changes.iter().map(|_| 6000).collect();
        call.say(Content::Settled(Settled { number: settle.number, over: Vec::new(), deadlines_unix_ms }));
        all.0.extend(done);
        all.1.extend(changes);
    }
    all.0.sort_unstable();
    all.1.sort_unstable();
    all
}

/// Until whoever handles is done, with a bound on it.
async fn end<T>(task: tokio::task::JoinHandle<T>) -> T {
    timeout(Duration::from_secs(10), task).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn what_a_handler_answers_is_said_of_its_message() {
    let group = Group::start(1, []).await;
    let (consumer, mut call) = consumer(&group, ConsumerOptions::new()).await;
    let handle = |message: ReceivedMessage| async move {
        match message.offset() {
            0 => Handled::Done,
            1 => Handled::from(Err::<(), _>("no")),
            2 => Handled::RetryAfter(Duration::from_secs(7)),
            3 => Handled::GiveBack,
            _ => panic!("a bug of the application's"),
        }
    };
    let handling = consumer.for_each_concurrent(2, handle).retry_delay(Duration::from_secs(3), Duration::from_secs(9));
    let running = tokio::spawn(handling.into_future());
    call.push(1, 0..5);
    let expected = vec![(1, 3000, true), (2, 7000, true), (3, 0, false), (4, 3000, true)];
    assert_eq!(settled(&mut call, 5).await, (vec![0], expected));
    running.abort();
}

#[tokio::test]
async fn so_many_are_handled_at_a_time_and_the_others_wait_in_the_consumer() {
    let group = Group::start(1, []).await;
    let (consumer, mut call) = consumer(&group, ConsumerOptions::new()).await;
    let (gate, running, most) =
        (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handle = {
        let (gate, most) = (Arc::clone(&gate), Arc::clone(&most));
        move |_| {
            let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
            }
        }
    };
    let handling = tokio::spawn(consumer.for_each_concurrent(3, handle).into_future());
    call.push(1, 0..10);
    // The credit of what is handled comes back, and no more.
    call.credit_taken().await;
    gate.add_permits(10);
    assert_eq!(settled(&mut call, 10).await.0, (0..10).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 3);
    handling.abort();
}

/// With the shortest time that there is.
#[tokio::test]
async fn while_a_message_is_handled_its_delivery_is_renewed_and_the_renewed_one_is_acknowledged() {
    let group = Group::start(1, []).await;
    let options = ConsumerOptions::new().invisible_duration(Duration::from_secs(10));
    let (consumer, mut call) = consumer(&group, options).await;
    let (done, wait) = oneshot::channel::<()>();
    let wait = Arc::new(tokio::sync::Mutex::new(Some(wait)));
    let handle = move |_| {
        let wait = Arc::clone(&wait);
        async move { drop(wait.lock().await.take().unwrap().await) }
    };
    let handling = tokio::spawn(consumer.for_each_concurrent(1, handle).into_future());
    call.push(1, 0..1);
    let (renewal, _) = call.settle().await;
    assert_eq!(said(&renewal), (vec![], vec![(0, 10_000, true)]));
    call.say(Content::Settled(Settled { number: renewal.number, over: Vec::new(), deadlines_unix_ms: vec![8000] }));
    done.send(()).unwrap();
    let (acknowledged, _) = call.settle().await;
    assert_eq!(acknowledged.done, [Run { nonce: 1001, deadline_unix_ms: 8000, queue: 0, offset: 0, count: 1 }]);
    handling.abort();
}

#[tokio::test]
async fn at_the_end_handlers_finish_and_what_has_not_begun_goes_back() {
    let group = Group::start(1, []).await;
    let (consumer, mut call) = consumer(&group, ConsumerOptions::new()).await;
    let gate = Arc::new(Semaphore::new(0));
    let (begun, mut begins) = mpsc::unbounded_channel();
    let handle = {
        let gate = Arc::clone(&gate);
        move |message: ReceivedMessage| {
            let (gate, begun) = (Arc::clone(&gate), begun.clone());
            async move {
                begun.send(message.offset()).unwrap();
                gate.acquire().await.unwrap().forget();
            }
        }
    };
    let handling = tokio::spawn(consumer.for_each_concurrent(2, handle).into_future());
    call.push(1, 0..5);
    assert_eq!((begins.recv().await, begins.recv().await), (Some(0), Some(1)));
    let closing = tokio::spawn(async move { consumer.close().await });
    gate.add_permits(5);
    assert_eq!(settled(&mut call, 5).await, (vec![0, 1], vec![(2, 0, false), (3, 0, false), (4, 0, false)]));
    end(handling).await.unwrap();
    assert!(call.settle_or_goodbye().await.is_none());
    drop(call);
    end(closing).await;
}

#[tokio::test]
async fn until_ends_it_and_leaves_the_consumer_open() {
    let group = Group::start(1, []).await;
    let (consumer, mut call) = consumer(&group, ConsumerOptions::new()).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let handling = consumer.for_each_concurrent(1, async |_| {}).until(async { drop(stopped.await) });
    let handling = tokio::spawn(handling.into_future());
    call.push(1, 0..1);
    assert_eq!(settled(&mut call, 1).await.0, [0]);
    stop.send(()).unwrap();
    end(handling).await.unwrap();
    call.push(2, 1..2);
    assert_eq!(consumer.receive().await.unwrap()[0].offset(), 1);
}

#[tokio::test]
async fn what_cannot_get_better_by_itself_ends_it() {
    let group = Group::start(1, []).await;
    let client = Client::connect(&group.addresses()).unwrap();
    let consumer = client.consumer("g", ["t"], ConsumerOptions::new()).unwrap();
    let handling = tokio::spawn(consumer.for_each_concurrent(1, async |_| {}).into_future());
    let mut call = group.call().await;
    call.open().await;
    call.end(EndReason::TopicNotFound, "");
    drop(call);
    assert!(matches!(end(handling).await, Err(Error::Refused { .. })));
    let error = consumer.for_each_concurrent(0, async |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
}

#[tokio::test]
async fn messages_come_one_by_one_until_the_consumer_is_closed() {
    let group = Group::start(1, []).await;
    let (consumer, mut call) = consumer(&group, ConsumerOptions::new()).await;
    let mut messages = std::pin::pin!(consumer.messages());
    call.push(1, 0..3);
    for offset in 0..2 {
        assert_eq!(messages.next().await.unwrap().unwrap().offset(), offset);
    }
    let closing = {
        let consumer = consumer.clone();
        tokio::spawn(async move { consumer.close().await })
    };
    assert_eq!(settled(&mut call, 1).await, (vec![], vec![(2, 0, false)]), "what was not taken goes back");
    assert!(messages.next().await.is_none());
    drop(call);
    end(closing).await;
}
